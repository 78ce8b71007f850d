"""Keys for the client among those for the program, as ssh(1) has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.terminal.escapes import Escapes, Key, character

PIECES = [
    (b"ls\r", [b"ls\r"]),
    (b"~.", [Key.LEAVE]),
    (b"\r~.", [b"\r", Key.LEAVE]),
    (b"\n~d", [b"\n", Key.DETACH]),
    (b"x\r~\x1a", [b"x\r", Key.SUSPEND]),
    (b"~?", [Key.HELP]),
    (b"~~.", [b"~."]),
    (b"~~~.", [b"~~."]),
    (b"\r~~~.", [b"\r~~."]),
    (b"a~.", [b"a~."]),
    (b"\ra~.", [b"\ra~."]),
    (b"~x~.", [b"~x~."]),
    (b"~\r~.", [b"~\r", Key.LEAVE]),
    (b"~?~.", [Key.HELP, Key.LEAVE]),
    (b"~?ls\r~d~d", [Key.HELP, b"ls\r", Key.DETACH, Key.DETACH]),
    (b"~", []),
    (b"cd ~/x\r", [b"cd ~/x\r"]),
    (b"\r\r~.\r~.", [b"\r\r", Key.LEAVE, b"\r", Key.LEAVE]),
    (b"\x00\xff\r\x80~.", [b"\x00\xff\r\x80~."]),
    # what was pasted has no such keys, whatever it is
    (b"\x1b[200~\r~.\r~d\x1b[201~", [b"\x1b[200~\r~.\r~d\x1b[201~"]),
    (b"~\x1b[200~.\x1b[201~", [b"~\x1b[200~.\x1b[201~"]),
    (b"\x1b[200~a\r\x1b[201~\r~.", [b"\x1b[200~a\r\x1b[201~\r", Key.LEAVE]),
    (b"\x1b[200~\x1b[200~\x1b[201~\r~.", [b"\x1b[200~\x1b[200~\x1b[201~\r", Key.LEAVE]),
    (b"\r\x1b[201~\r~.", [b"\r\x1b[201~\r", Key.LEAVE]),
]


def joined(pieces: list[bytes | Key]) -> list[bytes | Key]:
    result: list[bytes | Key] = []
    for piece in pieces:
        if isinstance(piece, bytes) and result and isinstance(last := result[-1], bytes):
            result[-1] = last + piece
        else:
            result.append(piece)
    return result


@pytest.mark.parametrize(("data", "pieces"), PIECES)
def test_as_a_whole(data: bytes, pieces: list[bytes | Key]) -> None:
    assert Escapes().feed(data) == pieces


@pytest.mark.parametrize(("data", "pieces"), PIECES)
def test_byte_by_byte(data: bytes, pieces: list[bytes | Key]) -> None:
    escapes = Escapes()
    assert joined([piece for byte in data for piece in escapes.feed(bytes([byte]))]) == pieces


@pytest.mark.parametrize(("data", "pieces"), PIECES)
def test_with_another_character(data: bytes, pieces: list[bytes | Key]) -> None:
    def other(data: bytes) -> bytes:
        # the marks of a paste end with a tilde whatever the character is
        return data.replace(b"~", b"%").replace(b"[200%", b"[200~").replace(b"[201%", b"[201~")

    expected = [other(piece) if isinstance(piece, bytes) else piece for piece in pieces]
    assert Escapes(ord("%")).feed(other(data)) == expected


@pytest.mark.parametrize(("data", "pieces"), PIECES)
def test_without_a_character_all_passes(data: bytes, pieces: list[bytes | Key]) -> None:
    assert Escapes(None).feed(data) == [data]
    assert Escapes(None).feed(b"") == []


keys = st.text("~.d?\x1a\r\nax[201\x1b").map(str.encode)
chunks = st.lists(
    st.one_of(keys, st.binary(max_size=8), st.sampled_from([b"\x1b[200~", b"\x1b[201~", b"\r~", b"\n~."]))
)


@given(chunks)
def test_the_chunks_do_not_matter(chunks: list[bytes]) -> None:
    whole = Escapes().feed(b"".join(chunks))
    escapes = Escapes()
    assert joined([piece for chunk in chunks for piece in escapes.feed(chunk)]) == whole


def as_ssh(data: bytes) -> list[bytes | Key]:
    """What ssh(1) makes of `data`, byte by byte; it knows of no pastes."""
    pieces: list[bytes | Key] = []
    fresh, held = True, False
    for byte in data:
        if held:
            held = False
            if byte in {key.value for key in Key}:
                pieces.append(Key(byte))
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
    assert Escapes().feed(data) == as_ssh(data)


@given(st.lists(st.binary(max_size=20).map(lambda data: data.replace(b"~", b"")), max_size=20))
def test_without_the_character_every_byte_passes(chunks: list[bytes]) -> None:
    escapes = Escapes()
    assert [b"".join(p for p in escapes.feed(chunk) if isinstance(p, bytes)) for chunk in chunks] == chunks


def test_a_long_paste_costs_little() -> None:
    """A megabyte of the worst: a line of two bytes each."""
    escapes = Escapes()
    data = b"\r~x" * 1400
    for _ in range(250):
        assert escapes.feed(data) == [data]


@pytest.mark.parametrize(
    ("text", "code"), [("~", 126), ("%", 37), ("^", 94), ("^]", 29), ("^a", 1), ("^A", 1), ("^^", 30), ("none", None)]
)
def test_characters(text: str, code: int | None) -> None:
    assert character(text) == code


@pytest.mark.parametrize("text", ["", "~~", "é", "^é", " ", "\n", "\x01", "None", "^^^"])
def test_what_is_no_character(text: str) -> None:
    with pytest.raises(ValueError, match="is no escape character"):
        character(text)
