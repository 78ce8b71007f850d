"""Keys for the client among those for the program, as ssh(1) has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.terminal.escapes import ClientKey, EscapeParser, parse_escape_character

PIECES = [
    (b"ls\r", [b"ls\r"]),
    (b"~.", [ClientKey.LEAVE]),
    (b"\r~.", [b"\r", ClientKey.LEAVE]),
    (b"\n~d", [b"\n", ClientKey.DETACH]),
    (b"x\r~\x1a", [b"x\r", ClientKey.SUSPEND]),
    (b"~?", [ClientKey.HELP]),
    (b"~~.", [b"~."]),
    (b"~~~.", [b"~~."]),
    (b"\r~~~.", [b"\r~~."]),
    (b"a~.", [b"a~."]),
    (b"\ra~.", [b"\ra~."]),
    (b"~x~.", [b"~x~."]),
    (b"~\r~.", [b"~\r", ClientKey.LEAVE]),
    (b"~?~.", [ClientKey.HELP, ClientKey.LEAVE]),
    (b"~?ls\r~d~d", [ClientKey.HELP, b"ls\r", ClientKey.DETACH, ClientKey.DETACH]),
    (b"~", []),
    (b"cd ~/x\r", [b"cd ~/x\r"]),
    (b"\r\r~.\r~.", [b"\r\r", ClientKey.LEAVE, b"\r", ClientKey.LEAVE]),
    (b"\x00\xff\r\x80~.", [b"\x00\xff\r\x80~."]),
    # what was pasted has no such keys, whatever it is
    (b"\x1b[200~\r~.\r~d\x1b[201~", [b"\x1b[200~\r~.\r~d\x1b[201~"]),
    (b"~\x1b[200~.\x1b[201~", [b"~\x1b[200~.\x1b[201~"]),
    (b"\x1b[200~a\r\x1b[201~\r~.", [b"\x1b[200~a\r\x1b[201~\r", ClientKey.LEAVE]),
    (b"\x1b[200~\x1b[200~\x1b[201~\r~.", [b"\x1b[200~\x1b[200~\x1b[201~\r", ClientKey.LEAVE]),
    (b"\r\x1b[201~\r~.", [b"\r\x1b[201~\r", ClientKey.LEAVE]),
]


def joined(pieces: list[bytes | ClientKey]) -> list[bytes | ClientKey]:
    result: list[bytes | ClientKey] = []
    for piece in pieces:
        if isinstance(piece, bytes) and result and isinstance(last := result[-1], bytes):
            result[-1] = last + piece
        else:
            result.append(piece)
    return result


@pytest.mark.parametrize(("data", "pieces"), PIECES)
def test_as_a_whole(data: bytes, pieces: list[bytes | ClientKey]) -> None:
    assert EscapeParser().feed(data) == pieces


@pytest.mark.parametrize(("data", "pieces"), PIECES)
def test_byte_by_byte(data: bytes, pieces: list[bytes | ClientKey]) -> None:
    escapes = EscapeParser()
    assert joined([piece for byte in data for piece in escapes.feed(bytes([byte]))]) == pieces


@pytest.mark.parametrize(("data", "pieces"), PIECES)
def test_with_another_character(data: bytes, pieces: list[bytes | ClientKey]) -> None:
    def other(data: bytes) -> bytes:
        # the marks of a paste end with a tilde whatever the character is
        return data.replace(b"~", b"%").replace(b"[200%", b"[200~").replace(b"[201%", b"[201~")

    expected = [other(piece) if isinstance(piece, bytes) else piece for piece in pieces]
    assert EscapeParser(ord("%")).feed(other(data)) == expected


@pytest.mark.parametrize(("data", "pieces"), PIECES)
def test_without_a_character_all_passes(data: bytes, pieces: list[bytes | ClientKey]) -> None:
    assert EscapeParser(None).feed(data) == [data]
    assert EscapeParser(None).feed(b"") == []


keys = st.text("~.d?\x1a\r\nax[201\x1b").map(str.encode)
chunks = st.lists(
    st.one_of(keys, st.binary(max_size=8), st.sampled_from([b"\x1b[200~", b"\x1b[201~", b"\r~", b"\n~."]))
)


@given(chunks)
def test_the_chunks_do_not_matter(chunks: list[bytes]) -> None:
    whole = EscapeParser().feed(b"".join(chunks))
    escapes = EscapeParser()
    assert joined([piece for chunk in chunks for piece in escapes.feed(chunk)]) == whole


def as_ssh(data: bytes) -> list[bytes | ClientKey]:
    """What ssh(1) makes of `data`, byte by byte; it knows of no pastes."""
    pieces: list[bytes | ClientKey] = []
    fresh, held = True, False
    for byte in data:
        if held:
            held = False
            if byte in {key.value for key in ClientKey}:
                pieces.append(ClientKey(byte))
                continue
            if byte != ord("~"):
                pieces.append(b"~")
        elif fresh and byte == ord("~"):
            held = True
            continue
        fresh = byte in b"\r\n"
        pieces.append(bytes([byte]))
    return joined(pieces)


@given(st.lists(st.one_of(st.text("~.d?\x1a\r\nax").map(str.encode), st.binary(max_size=8))))
def test_the_keys_are_those_of_ssh(chunks: list[bytes]) -> None:
    data = b"".join(chunks).replace(b"\x1b", b"")
    assert EscapeParser().feed(data) == as_ssh(data)


@given(st.lists(st.binary(max_size=20).map(lambda data: data.replace(b"~", b"")), max_size=20))
def test_without_the_character_every_byte_passes(chunks: list[bytes]) -> None:
    escapes = EscapeParser()
    assert [b"".join(p for p in escapes.feed(chunk) if isinstance(p, bytes)) for chunk in chunks] == chunks


def test_a_long_paste_costs_little() -> None:
    """A megabyte of the worst: a line of two bytes each."""
    escapes = EscapeParser()
    data = b"\r~x" * 1400
    for _ in range(250):
        assert escapes.feed(data) == [data]


@pytest.mark.parametrize(
    ("text", "code"), [("~", 126), ("%", 37), ("^", 94), ("^]", 29), ("^a", 1), ("^A", 1), ("^^", 30), ("none", None)]
)
def test_characters(text: str, code: int | None) -> None:
    assert parse_escape_character(text) == code


@pytest.mark.parametrize("text", ["", "~~", "é", "^é", " ", "\n", "\x01", "None", "^^^"])
def test_what_is_no_character(text: str) -> None:
    with pytest.raises(ValueError, match="is not an escape character"):
        parse_escape_character(text)
