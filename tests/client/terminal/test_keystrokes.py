"""Typed bytes are split into keys as a line editor would."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.terminal.keystrokes import MAX_PARTIAL_KEY, KeyKind, KeystrokeParser

NAMES = {
    KeyKind.BACKSPACE: "<back>",
    KeyKind.LEFT: "<left>",
    KeyKind.RIGHT: "<right>",
    KeyKind.LINE_END: "<end>",
    KeyKind.OTHER: "<other>",
}


def read(*typed: bytes) -> str:
    parser = KeystrokeParser()
    return "".join(NAMES.get(key.kind, key.text) for data in typed for key in parser.feed(data))


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (b"ls -l", "ls -l"),
        ("größe".encode(), "größe"),
        ("漢e\u0301".encode(), "<other>e<other>"),
        (b"a\x7f\b", "a<back><back>"),
        (b"\r\n\x03", "<end><end><end>"),
        (b"\t\x01\x04\x1a", "<other>" * 4),
        (b"\x1b[C\x1bOC\x1b[D\x1bOD", "<right><right><left><left>"),
        (b"\x1b[A\x1b[1;5C\x1b[3~x", "<other><other><other>x"),
        (b"\x1bfx", "<other>x"),
        (b"\x1b\x1b[Dx", "<other><left>x"),
        (b"\x1b[M !!x", "<other>x"),
        (b"\x1b[<0;1;2Mx", "<other>x"),
        (b"\x1b]11;rgb:0/0/0\x07x\x1b]11;rgb:0/0/0\x1b\\y\x1bP1+r\x1b\\z", "<other>x<other>y<other>z"),
        (b"\x1b[200~a\x1b[201~", "<other>a<other>"),
    ],
)
def test_keys_are_recognized(typed: bytes, expected: str) -> None:
    assert read(typed) == expected


@pytest.mark.parametrize("typed", [b"\x1b[C", b"\x1b[3~", b"\x1bf", b"\x1b[M !!", b"\x1b]11;?\x1b\\", "ß".encode()])
def test_a_key_in_parts_is_still_one_key(typed: bytes) -> None:
    for at in range(1, len(typed)):
        assert read(typed[:at], typed[at:]).removeprefix("<other>") == read(typed)


def test_an_endless_sequence_is_not_remembered() -> None:
    endless = b"\x1b]" + b"x" * (MAX_PARTIAL_KEY + 1)
    assert read(endless, b"y") == "<other>y"


@given(st.lists(st.binary(max_size=20)))
def test_any_bytes_are_read(typed: list[bytes]) -> None:
    assert len(read(*typed)) >= 0
