"""Keys for the client are recognized as in ssh(1), except in pasted text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.terminal.escapes import ClientKey, EscapeParser, caret_notation, parse_escape_character

PARSED = [
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
    # pasted text contains no keys for the client
    (b"\x1b[200~\r~.\r~d\x1b[201~", [b"\x1b[200~\r~.\r~d\x1b[201~"]),
    (b"~\x1b[200~.\x1b[201~", [b"~\x1b[200~.\x1b[201~"]),
    (b"\x1b[200~a\r\x1b[201~\r~.", [b"\x1b[200~a\r\x1b[201~\r", ClientKey.LEAVE]),
    (b"\x1b[200~\x1b[200~\x1b[201~\r~.", [b"\x1b[200~\x1b[200~\x1b[201~\r", ClientKey.LEAVE]),
    (b"\r\x1b[201~\r~.", [b"\r\x1b[201~\r", ClientKey.LEAVE]),
]


def joined(parts: list[bytes | ClientKey]) -> list[bytes | ClientKey]:
    result: list[bytes | ClientKey] = []
    for part in parts:
        if isinstance(part, bytes) and result and isinstance(last := result[-1], bytes):
            result[-1] = last + part
        else:
            result.append(part)
    return result


@pytest.mark.parametrize(("data", "parts"), PARSED)
def test_typed_bytes_are_parsed_at_once(data: bytes, parts: list[bytes | ClientKey]) -> None:
    assert EscapeParser().feed(data) == parts


@pytest.mark.parametrize(("data", "parts"), PARSED)
def test_typed_bytes_are_parsed_byte_by_byte(data: bytes, parts: list[bytes | ClientKey]) -> None:
    escapes = EscapeParser()
    assert joined([part for byte in data for part in escapes.feed(bytes([byte]))]) == parts


@pytest.mark.parametrize(("data", "parts"), PARSED)
def test_another_escape_character_works_alike(data: bytes, parts: list[bytes | ClientKey]) -> None:
    def other(data: bytes) -> bytes:
        # the marks of a paste end with a tilde, whatever the character is
        return data.replace(b"~", b"%").replace(b"[200%", b"[200~").replace(b"[201%", b"[201~")

    expected = [other(part) if isinstance(part, bytes) else part for part in parts]
    assert EscapeParser(ord("%")).feed(other(data)) == expected


@pytest.mark.parametrize(("data", "parts"), PARSED)
def test_without_an_escape_character_every_byte_is_for_the_program(data: bytes, parts: list[bytes | ClientKey]) -> None:
    assert EscapeParser(None).feed(data) == [data]
    assert EscapeParser(None).feed(b"") == []


keys = st.text("~.d?\x1a\r\nax[201\x1b").map(str.encode)
chunks = st.lists(
    st.one_of(keys, st.binary(max_size=8), st.sampled_from([b"\x1b[200~", b"\x1b[201~", b"\r~", b"\n~."]))
)


@given(chunks)
def test_the_split_of_the_bytes_makes_no_difference(chunks: list[bytes]) -> None:
    whole = EscapeParser().feed(b"".join(chunks))
    escapes = EscapeParser()
    assert joined([part for chunk in chunks for part in escapes.feed(chunk)]) == whole


def as_ssh(data: bytes) -> list[bytes | ClientKey]:
    """Parse `data` as ssh(1) does, byte by byte; it ignores the marks of pastes."""
    parts: list[bytes | ClientKey] = []
    fresh, held = True, False
    for byte in data:
        if held:
            held = False
            if byte in {key.value for key in ClientKey}:
                parts.append(ClientKey(byte))
                continue
            if byte != ord("~"):
                parts.append(b"~")
        elif fresh and byte == ord("~"):
            held = True
            continue
        fresh = byte in b"\r\n"
        parts.append(bytes([byte]))
    return joined(parts)


@given(st.lists(st.one_of(st.text("~.d?\x1a\r\nax").map(str.encode), st.binary(max_size=8))))
def test_keys_are_recognized_as_in_ssh(chunks: list[bytes]) -> None:
    data = b"".join(chunks).replace(b"\x1b", b"")
    assert EscapeParser().feed(data) == as_ssh(data)


@given(st.lists(st.binary(max_size=20).map(lambda data: data.replace(b"~", b"")), max_size=20))
def test_bytes_without_the_character_pass_at_once(chunks: list[bytes]) -> None:
    escapes = EscapeParser()
    assert [b"".join(p for p in escapes.feed(chunk) if isinstance(p, bytes)) for chunk in chunks] == chunks


def test_a_long_paste_is_parsed_quickly() -> None:
    """A quarter of a megabyte of the worst case: lines of two bytes."""
    escapes = EscapeParser()
    data = b"\r~x" * 1400
    for _ in range(60):
        assert escapes.feed(data) == [data]


@pytest.mark.parametrize(
    ("text", "code"), [("~", 126), ("%", 37), ("^", 94), ("^]", 29), ("^a", 1), ("^A", 1), ("^^", 30), ("none", None)]
)
def test_escape_characters_are_parsed(text: str, code: int | None) -> None:
    assert parse_escape_character(text) == code


@pytest.mark.parametrize("text", ["", "~~", "é", "^é", " ", "\n", "\x01", "None", "^^^"])
def test_other_texts_are_not_escape_characters(text: str) -> None:
    with pytest.raises(ValueError, match="is not an escape character"):
        parse_escape_character(text)


@pytest.mark.parametrize(("code", "text"), [(126, "~"), (29, "^]"), (1, "^A"), (0, "^@")])
def test_characters_are_written_in_caret_notation(code: int, text: str) -> None:
    assert caret_notation(code) == text
