"""Patterns match bytes, know the boundaries of their stream, and are refused if they would be expensive."""

from __future__ import annotations

import pytest

from farhand_server.connection.channels.pattern import (
    MAX_PATTERN_MEMORY,
    MAX_PATTERN_PROGRAM,
    MAX_SEARCH_CHUNK,
    MAX_SEARCH_WORK,
    MIN_PATTERN_MEMORY,
    SEARCH_OVERLAP,
    BadPattern,
    Pattern,
)


@pytest.mark.parametrize(
    ("source", "before", "text", "last", "span"),
    [
        (rb"b+", b"", b"abbc", False, (1, 3)),
        (rb"\xff.", b"", b"\x00\xff\n\xffx", False, (3, 5)),
        (rb"x", b"", b"abc", True, None),
        (rb"^b", b"", b"b", False, (0, 1)),
        (rb"^b", b"\n", b"b", False, (0, 1)),
        (rb"^b", b"a", b"b", False, None),
        (rb"^b", None, b"b", False, None),
        (rb"b$", b"", b"b", True, (0, 1)),
        (rb"b$", b"", b"b", False, None),
        (rb"b$", b"", b"b\n", False, (0, 1)),
        (rb"\bb", b" ", b"b", False, (0, 1)),
        (rb"\bb", None, b"b", False, None),
        (rb"\b-", None, b"-", False, None),
        (rb"b\b", b"", b"b", False, None),
        (rb"b\b", b"", b"b", True, (0, 1)),
        (rb"^$", b"\n", b"", True, (0, 0)),
        (rb"^$", None, b"", False, None),
    ],
)
def test_a_match_is_found_and_an_unknown_byte_is_not_a_boundary(
    source: bytes, before: bytes | None, text: bytes, last: bool, span: tuple[int, int] | None
) -> None:
    assert Pattern(source).search(before, text, last=last) == span


@pytest.mark.parametrize("source", [rb"(", rb"[b-a]", rb"(?<=a)b", rb"a{1001}", rb"\8"])
def test_the_refusal_of_an_invalid_pattern_omits_the_services_own_prefix(source: bytes) -> None:
    with pytest.raises(BadPattern, match="the pattern cannot be used: ") as refused:
        Pattern(source)
    assert "(?m)" not in str(refused.value)


def test_a_pattern_with_too_large_a_program_is_refused() -> None:
    with pytest.raises(BadPattern, match=rf"it compiles to \d+ instructions, and at most {MAX_PATTERN_PROGRAM} are"):
        Pattern(rb"(ab){1000}" * 3)


def test_a_larger_pattern_is_searched_for_in_smaller_chunks() -> None:
    small, large = Pattern(rb"a"), Pattern(rb"[ab]{900}" * 2)
    assert small.chunk == MAX_SEARCH_CHUNK
    assert SEARCH_OVERLAP <= large.chunk <= MAX_SEARCH_WORK // 1800


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"(x{0,1000})" * 5, "it repeats something 5000 times, and at most 4096"),
        (b"x{1000000000000000000}", "it repeats something 100000000 times"),
        (rb"[^\pL]" * 65, r"it has 65 Unicode classes \(\\p\), and at most 64"),
    ],
)
def test_a_pattern_that_would_take_long_to_compile_is_not_compiled(source: bytes, words: str) -> None:
    with pytest.raises(BadPattern, match=f"the pattern is too large: {words}"):
        Pattern(source)


def test_escapes_do_not_count_as_repetitions_or_classes() -> None:
    assert Pattern(rb"\{1000}" * 5 + rb"\\pL" * 100).search(b"", b"{1000}", last=True) is None


@pytest.mark.parametrize("source", [rb"a", rb"port \d+", rb"(a|b)*a" + rb"(a|b|c)" * 30, rb"(a|b|c){900}x"])
def test_a_pattern_may_use_memory_for_its_size(source: bytes) -> None:
    assert MIN_PATTERN_MEMORY <= Pattern(source).memory <= MAX_PATTERN_MEMORY
    assert Pattern(b"a").memory == MIN_PATTERN_MEMORY
    assert Pattern(rb"(a|b|c){900}x").memory == MAX_PATTERN_MEMORY
