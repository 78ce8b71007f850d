"""Lines from a stream of bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.repl.lines import MAX_COMMAND
from farhand_client.repl.script import lines


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@given(st.lists(st.binary(max_size=5).map(lambda data: data.replace(b"\r", b"")), max_size=10))
async def test_lines_are_the_same_however_they_are_cut(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    expected = whole.removesuffix(b"\n").split(b"\n") if whole else []
    assert [line async for line in lines(stream(*chunks))] == expected


async def test_a_carriage_return_at_the_end_of_a_line_belongs_to_the_end() -> None:
    assert [line async for line in lines(stream(b"a\r", b"\nb\rc\r\nd\r"))] == [b"a", b"b\rc", b"d"]


async def test_a_line_is_given_before_the_next_one_comes() -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"first\n"
        pytest.fail("more was asked for")

    async for line in lines(slow()):
        assert line == b"first"
        break


async def test_a_line_without_end_is_not_kept_in_memory() -> None:
    with pytest.raises(ValueError, match="131071 bytes"):
        [line async for line in lines(stream(*[b"x" * 1000] * (MAX_COMMAND // 1000 + 1), b"\n"))]
