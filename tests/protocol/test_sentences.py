"""Text that people can read, whatever it quotes and whatever has failed."""

from __future__ import annotations

import codecs
import errno
import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol.sentences import (
    MAX_SENTENCE,
    closest,
    counted,
    escape_surrogates,
    escape_undecodable,
    escape_unencodable,
    printable,
    printable_lines,
    shell_quoted,
    unforeseen_sentence,
)

codecs.register_error("test.escape", escape_unencodable)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain 日", "plain 日"),
        ("a\udcffb", "a\\xffb"),
        ("\ud800", "\\ud800"),
        (repr("\udcff"), "'\\xff'"),
        (repr("\\\udcff"), "'\\\\\\xff'"),
        (repr("\\udcff"), "'\\\\udcff'"),
        ("\\udc7f", "\\udc7f"),
    ],
)
def test_bytes_that_are_not_text_are_shown_as_bytes(text: str, shown: str) -> None:
    assert escape_undecodable(text) == shown


def test_text_that_only_looks_like_an_escaped_byte_can_stay_as_it_is() -> None:
    assert escape_surrogates("\\udcff \udcff 日") == "\\udcff \\xff 日"


@given(st.binary(), st.sampled_from(["ascii", "latin-1", "utf-8", "cp1252"]))
def test_any_argument_can_be_shown_in_any_encoding(data: bytes, encoding: str) -> None:
    text = os.fsdecode(data)
    text.encode(encoding, "test.escape")
    for each in (text, repr(text)):
        escape_undecodable(each).encode()


def test_what_an_encoding_lacks_is_escaped() -> None:
    assert "é 日 \udcff 💡".encode("latin-1", "test.escape") == b"\xe9 \\u65e5 \\xff \\U0001f4a1"
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("utf-8", "test.escape")


NESTED = "something is nested too deeply to be understood"
THREAD = "no thread can be started; a limit on processes or memory is too low (ulimit -u, ulimit -v)"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (MemoryError(), "there is not enough memory (ulimit -v)"),
        (RuntimeError("can't start new thread"), THREAD),
        (
            ExceptionGroup("several", [ExceptionGroup("inner", [MemoryError()])]),
            "there is not enough memory (ulimit -v)",
        ),
        (
            OSError(errno.EMFILE, "Too many open files"),
            "Too many open files; the limit on open files is too low (ulimit -n)",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/a"), "/a: Permission denied"),
        (
            OSError(errno.EXDEV, "Invalid cross-device link", b"/a\xff", None, "/b"),
            "/a\\xff: /b: Invalid cross-device link",
        ),
        (ImportError("no\nmodule"), "a part of the program cannot be loaded: no module"),
        (RecursionError(), NESTED),
        (KeyError("x"), "unexpected error KeyError: 'x'; this is a fault in Farhand, FARHAND_DEBUG=1 shows where"),
        (AssertionError(), "unexpected error AssertionError; this is a fault in Farhand, FARHAND_DEBUG=1 shows where"),
    ],
    ids=repr,
)
def test_an_unforeseen_error_is_one_sentence(error: BaseException, sentence: str) -> None:
    assert unforeseen_sentence(error) == sentence


def test_a_limit_explains_what_fails_after_it() -> None:
    later = RuntimeError("Cannot close a running event loop")
    later.__context__ = ValueError("between")
    later.__context__.__context__ = OSError(errno.EMFILE, "Too many open files")
    assert unforeseen_sentence(later).startswith("Too many open files;")
    later.__suppress_context__ = True
    assert unforeseen_sentence(later).startswith("unexpected error RuntimeError: Cannot close")


def test_a_long_error_of_several_lines_is_one_line_and_shortened() -> None:
    sentence = unforeseen_sentence(KeyError("x\n" * 5000))
    assert "\n" not in sentence
    assert len(sentence) < MAX_SENTENCE + 200


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain Übung 日本", "plain Übung 日本"),
        ("\x1b[2Jcleared", "\\x1b[2Jcleared"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202eevil", "\\u202eevil"),
        ("\udcff", "\\xff"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_lines_stay_lines_and_undecodable_bytes_are_shown() -> None:
    assert printable_lines("a\x1bb\nc\udcff") == "a\\x1bb\nc\\xff"


@pytest.mark.needs("bash")
def test_quoted_words_are_the_same_words_in_a_shell() -> None:
    words = ["", "a b", "it's", "a\nb\tc", "\x1b[2J", "caf\udce9", "\u202e", "\\'\n", "*", "日"]
    line = shell_quoted(words)
    assert line.isprintable()
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True, timeout=10)
    assert done.stdout.decode(errors="surrogateescape").split("\0")[:-1] == words


def test_one_has_no_plural() -> None:
    assert [counted(number, "run") for number in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]


@pytest.mark.parametrize(("word", "meant"), [("kil", "kill"), ("kill", "kill"), ("zzz", None), ("", None)])
def test_a_similar_word_is_found_for_a_mistyped_one(word: str, meant: str | None) -> None:
    assert closest(word, ("run", "kill", "wait")) == meant


def test_how_similar_a_word_must_be_is_up_to_the_caller() -> None:
    assert (closest("kick", ["kill"], 0.5), closest("kick", ["kill"], 0.8)) == ("kill", None)
