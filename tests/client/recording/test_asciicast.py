"""Recordings as asciicast v2."""

from __future__ import annotations

import json
from typing import Any

import pytest

from farhand_client.output import Gap
from farhand_client.recording.asciicast import AsciicastEncoder, asciicast_header
from farhand_client.recording.events import GapEvent, InputEvent, OutputEvent, RecordedEvent, ResizeEvent


def written(*events: RecordedEvent, translate_newlines: bool = False) -> list[list[Any]]:
    cast = AsciicastEncoder(translate_newlines=translate_newlines)
    text = "".join(map(cast.encode, events)) + cast.finish(9.0)
    return [json.loads(line) for line in text.splitlines()]


def out(*data: bytes) -> list[RecordedEvent]:
    return [OutputEvent(at / 10, "stdout", chunk) for at, chunk in enumerate(data)]


def test_the_header_leaves_out_unknown_fields() -> None:
    line = asciicast_header(80, 24, timestamp=1700000000, duration=None, command="ls é", title=None)
    assert line == '{"version": 2, "width": 80, "height": 24, "timestamp": 1700000000, "command": "ls é"}\n'


def test_a_title_that_is_not_utf_8_is_escaped() -> None:
    assert json.loads(asciicast_header(80, 24, title="日\udcff").encode())["title"] == "日\\xff"


def test_each_kind_of_event_has_its_code() -> None:
    events: list[RecordedEvent] = [
        OutputEvent(0.5, "stdout", b"$ "),
        InputEvent(0.75, b"l\x03", False),
        ResizeEvent(1.0, 100, 30),
        GapEvent(1.0, Gap("stdout", 2, 7)),
        InputEvent(1.25, b"s", True),
    ]
    assert written(*events) == [
        [0.5, "o", "$ "],
        [0.75, "i", "l\x03"],
        [1.0, "r", "100x30"],
        [1.0, "m", "7 bytes of stdout from offset 2 on are no longer kept"],
        [1.25, "i", "s"],
        [1.25, "m", "input from here on is not recorded"],
    ]


def test_an_event_is_one_line_whatever_it_contains() -> None:
    text = AsciicastEncoder(translate_newlines=False).encode(
        OutputEvent(1 / 3, "stdout", 'a"\\\r\n\x1b[m\x00\u2028é'.encode())
    )
    assert text == '[0.333, "o", "a\\"\\\\\\r\\n\\u001b[m\\u0000\u2028é"]\n'


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        ([b"\xe6\xbc", b"\xa2!"], ["漢!"]),
        ([b"a\xf0\x9f", b"\x98", b"\x80b"], ["a", "😀b"]),
        ([b"a\xffb"], ["a\ufffdb"]),
        ([b"\xc3", b"A"], ["\ufffdA"]),
        ([b"end\xe6\xbc"], ["end", "\ufffd"]),
        ([b"\xed\xa0\x80"], ["\ufffd\ufffd\ufffd"]),
    ],
)
def test_bytes_become_characters(data: list[bytes], texts: list[str]) -> None:
    assert [text for _, _, text in written(*out(*data))] == texts


def test_a_character_is_completed_by_its_own_stream() -> None:
    events: list[RecordedEvent] = [
        OutputEvent(0, "stdout", b"\xc3"),
        OutputEvent(1, "stderr", b"E"),
        InputEvent(2, b"\xc3", False),
    ]
    events += [OutputEvent(3, "stdout", b"\xb6"), InputEvent(4, b"\xa4", False)]
    assert written(*events) == [[1, "o", "E"], [3, "o", "ö"], [4, "i", "ä"]]


def test_newlines_are_translated_on_request() -> None:
    data = [b"a\r", b"\nb\n"]
    for translate, shown in ((True, "a\r\nb\r\n"), (False, "a\r\nb\n")):
        assert "".join(text for _, _, text in written(*out(*data), translate_newlines=translate)) == shown
