"""Patterns match bytes, know the boundaries of their stream, and are refused if they would be expensive."""

from __future__ import annotations

import asyncio

import pytest

from farhand_server.connection.channels.pattern import (
    MAX_PATTERN_PROGRAM,
    MAX_SEARCH_CHUNK,
    MAX_SEARCH_WORK,
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
async def test_a_match_is_found_and_an_unknown_byte_is_not_a_boundary(
    source: bytes, before: bytes | None, text: bytes, last: bool, span: tuple[int, int] | None
) -> None:
    assert await Pattern(source).search(before, text, last=last) == span


@pytest.mark.parametrize("source", [rb"(", rb"[b-a]", rb"(?<=a)b", rb"a{1001}", rb"\8"])
def test_the_refusal_of_an_invalid_pattern_omits_the_services_own_prefix(source: bytes) -> None:
    with pytest.raises(BadPattern, match="the pattern cannot be used: ") as refused:
        Pattern(source)
    assert "(?m)" not in str(refused.value)


def test_a_pattern_with_too_large_a_program_is_refused() -> None:
    with pytest.raises(BadPattern, match=rf"it compiles to \d+ instructions, and at most {MAX_PATTERN_PROGRAM} are"):
        Pattern(rb"[a-z]{1000}" * 5)


def test_a_larger_pattern_is_searched_for_in_smaller_chunks() -> None:
    small, large = Pattern(rb"a"), Pattern(rb"[ab]{1000}" * 3)
    assert small.chunk == MAX_SEARCH_CHUNK
    assert SEARCH_OVERLAP <= large.chunk <= MAX_SEARCH_WORK // 3000


async def test_searches_of_one_loop_are_done_one_at_a_time_in_order() -> None:
    found: list[int] = []

    async def search(number: int, size: int) -> None:
        assert await Pattern(rb"b$").search(b"", b"a" * size + b"b", last=True) == (size, size + 1)
        found.append(number)

    await asyncio.gather(*(search(number, size) for number, size in enumerate((100_000, 1, 10))))
    assert found == [0, 1, 2]
