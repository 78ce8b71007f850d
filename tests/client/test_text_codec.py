"""Text is decoded as `subprocess.run` does, but newlines only if `universal_newlines` asks for it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from farhand_client.text_codec import TextCodec

CASES: list[dict[str, Any]] = [
    {},
    {"text": False},
    {"text": True},
    {"encoding": "latin-1"},
    {"encoding": "utf-16-le", "text": False},
    {"errors": "replace"},
    {"errors": "surrogateescape", "encoding": "ascii"},
    {"universal_newlines": True},
    {"universal_newlines": True, "text": True},
    {"universal_newlines": False},
]


def codec_of(given: dict[str, Any]) -> TextCodec | None:
    names = ("text", "encoding", "errors", "universal_newlines")
    return TextCodec.of(*(given.get(name) for name in names))


@pytest.mark.parametrize("given", CASES)
def test_output_is_what_subprocess_returns(given: dict[str, Any]) -> None:
    data = "ä€\n".encode("utf-16-le") if given.get("encoding") == "utf-16-le" else b"a\xc3\xa4\n"
    script = f"import sys; sys.stdout.buffer.write({data!r})"
    expected = subprocess.run(
        [sys.executable, "-I", "-X", "utf8", "-c", script], capture_output=True, check=True, **given
    ).stdout
    codec = codec_of(given)
    assert (data if codec is None else codec.decode(data, truncated=False)) == expected


def test_newlines_are_translated_only_if_asked_for() -> None:
    data = b"a\r\nb\rc\n"
    text, translated = codec_of({"text": True}), codec_of({"universal_newlines": True})
    assert text is not None
    assert translated is not None
    assert text.decode(data, truncated=False) == "a\r\nb\rc\n"
    assert translated.decode(data, truncated=False) == "a\nb\nc\n"


def test_a_character_cut_by_truncation_is_left_out() -> None:
    codec = codec_of({"text": True})
    assert codec is not None
    assert codec.decode("aä".encode()[:2], truncated=True) == "a"
    with pytest.raises(UnicodeDecodeError):
        codec.decode("aä".encode()[:2], truncated=False)


def test_errors_apply_to_input_too() -> None:
    codec = codec_of({"encoding": "ascii", "errors": "replace"})
    assert codec is not None
    assert codec.encode("ä") == b"?"


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        ({"text": True, "universal_newlines": False}, ValueError, "contradict each other"),
        ({"encoding": "klingon"}, ValueError, "encoding is 'klingon', which is not a text encoding of Python"),
        ({"encoding": "hex"}, ValueError, "not a text encoding"),
        ({"encoding": "a\0"}, ValueError, "not a text encoding"),
        ({"errors": "shrug"}, ValueError, "errors is 'shrug'; it must be strict, replace"),
        ({"encoding": 8}, TypeError, "encoding is int; it must be str"),
        ({"errors": b"strict"}, TypeError, "errors is bytes; it must be str"),
    ],
)
def test_what_cannot_be_decoded_is_refused_before_the_command_runs(
    given: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        codec_of(given)
