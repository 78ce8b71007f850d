"""A script on stdin: its lines, and what ends it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.repl.lines import MAX_COMMAND
from farhand_client.repl.script import split_lines


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@given(st.lists(st.binary(max_size=5).map(lambda data: data.replace(b"\r", b"")), max_size=10))
async def test_lines_do_not_depend_on_how_the_bytes_are_split_into_chunks(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    expected = whole.removesuffix(b"\n").split(b"\n") if whole else []
    assert [line async for line in split_lines(stream(*chunks))] == expected


async def test_a_carriage_return_at_the_end_of_a_line_is_removed() -> None:
    assert [line async for line in split_lines(stream(b"a\r", b"\nb\rc\r\nd\r"))] == [b"a", b"b\rc", b"d"]


async def test_a_line_is_yielded_before_the_next_one_arrives() -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"first\n"
        pytest.fail("the next chunk was read")

    async for line in split_lines(slow()):
        assert line == b"first"
        break


async def test_a_line_that_is_too_long_is_refused_before_it_ends() -> None:
    with pytest.raises(ValueError, match="131071 bytes"):
        [line async for line in split_lines(stream(*[b"x" * 1000] * (MAX_COMMAND // 1000 + 1), b"\n"))]
