"""A wait ends with a match, silence, the end or a timeout, whichever is first, however the output is split."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.limits import KiB, MiB
from farhand_server.connection.channels.pattern import MAX_PATTERN_MEMORY, SEARCH_OVERLAP, BadPattern, Pattern
from farhand_server.connection.channels.searches import MAX_PATTERNS_PER_ACCOUNT, TooManyPatterns
from farhand_server.connection.channels.waiting import WaitChannel
from farhand_server.runs.attachments.attachments import BadOffset
from farhand_server.runs.run import LiveRun
from tests.server.connection.channels.runs import finish, run
from tests.support.fake_session import FakeSession


def wait_for(session: FakeSession, watched: LiveRun, pattern: bytes | None = None, **fields: object) -> int:
    request = m.WaitFor.model_validate({"id": watched.plan.id, "pattern": pattern, **fields})
    number = session.open(request)
    WaitChannel(session, number, watched, request, user="ada").begin()
    return number


def matched(start: int, end: int) -> m.Matched:
    return m.Matched(reason="pattern", start=start, end=end)


async def caught_up() -> None:
    """Wait until the current output was searched: searches are done in order, and this one is the last."""
    other, session = run(), FakeSession()
    for _ in range(3):
        other.stdout.append(b"x")
        await session.last(wait_for(session, other, b"x"))


@pytest.mark.parametrize(
    ("pattern", "output", "span"),
    [
        (b"port \\d+$", b"listening on port 8080\n", (13, 22)),
        (b"two", b"one\ntwo\n", (4, 7)),
        (b"^two$", b"one\ntwo\n", (4, 7)),
        (b"\\Aone", b"one\n", (0, 3)),
        (b"e\\nt", b"one\ntwo\n", (2, 5)),
        (b"caf\xe9", b"caf\xc3 caf\xe9", (5, 9)),
        ("café".encode(), "ein café".encode(), (4, 9)),
        (b"\\x00\\xff", b"a\0\xff", (1, 3)),
        (b"a|ab", b"ab", (0, 1)),
        (b"Password: ", b"Password: ", (0, 10)),
        (b"", b"", (0, 0)),
    ],
)
async def test_a_match_is_found_however_the_output_is_split(
    pattern: bytes, output: bytes, span: tuple[int, int]
) -> None:
    for chunks in ([output], [output[at : at + 1] for at in range(len(output))]):
        watched, session = run(), FakeSession()
        number = wait_for(session, watched, pattern)
        for chunk in chunks:
            watched.stdout.append(chunk)
            await asyncio.sleep(0)
        assert await session.last(number) == matched(*span)


async def test_a_match_is_sent_as_soon_as_there_is_one() -> None:
    watched, session = run(), FakeSession()
    number = wait_for(session, watched, b"port \\d+")
    watched.stdout.append(b"port 80")
    assert await session.last(number) == matched(0, 7)
    watched.stdout.append(b"80")
    assert await session.last(wait_for(session, watched, b"port \\d+")) == matched(0, 9)


@pytest.mark.parametrize("pattern", [b"one$", b"one\\b", b"one\\z", b"(?-m)one$"])
async def test_the_end_of_the_output_so_far_is_not_a_boundary(pattern: bytes) -> None:
    watched, session = run(), FakeSession()
    number = wait_for(session, watched, pattern)
    watched.stdout.append(b"one")
    await caught_up()
    assert number not in session.received
    watched.stdout.append(b"s and one")
    await caught_up()
    assert number not in session.received
    watched.stdout.finish()
    assert await session.last(number) == matched(9, 12)


async def test_an_offset_is_not_a_boundary_of_a_line_or_word() -> None:
    watched, session = run(), FakeSession()
    watched.stdout.append(b"someone\none\n")
    assert await session.last(wait_for(session, watched, b"^one", offset=4)) == matched(8, 11)
    assert await session.last(wait_for(session, watched, b"\\bone", offset=4)) == matched(8, 11)
    assert await session.last(wait_for(session, watched, b"one", offset=4)) == matched(4, 7)
    assert await session.last(wait_for(session, watched, b"^one", offset=8)) == matched(8, 11)


@given(st.binary(max_size=60), st.sampled_from([b"ab+", b"^a", b"b$", b"a.b", b"\\bab\\b", b"(ba)+$"]), st.data())
def test_a_match_in_ended_output_ends_as_in_a_search_of_all_of_it(
    output: bytes, pattern: bytes, data: st.DataObject
) -> None:
    output = bytes(b"ab\n "[byte % 4] for byte in output)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(output)), max_size=5)))
    expected = re.search(b"(?m)" + pattern.replace(b"$", b"(?=\\n|\\Z)"), output)

    async def waited() -> m.AnyMessage:
        watched, session = run(), FakeSession()
        number = wait_for(session, watched, pattern)
        for first, end in zip([0, *cuts], [*cuts, len(output)], strict=True):
            watched.stdout.append(output[first:end])
            await asyncio.sleep(0)
        finish(watched)
        return await session.last(number)

    last = asyncio.run(waited())
    assert isinstance(last, m.Matched)
    if expected is None:
        assert last == m.Matched(reason="ended", start=len(output), end=len(output))
    else:
        # Later output can make a match longer, but not change where it begins.
        assert (last.reason, last.start) == ("pattern", expected.start())
        assert last.end <= expected.end()


async def test_a_match_may_cross_a_chunk_boundary_by_up_to_the_overlap() -> None:
    watched, session = run(spool=2 * MiB), FakeSession()
    chunk = Pattern(b"a+b").chunk
    text = b"." * (chunk - SEARCH_OVERLAP + 1) + b"a" * SEARCH_OVERLAP + b"b"
    watched.stdout.append(text)
    last = await session.last(wait_for(session, watched, b"a+b"))
    assert last == matched(chunk - SEARCH_OVERLAP + 1, len(text)) or last == matched(chunk - SEARCH_OVERLAP, len(text))


async def test_only_kept_output_matches_and_the_end_of_a_gap_is_not_a_boundary() -> None:
    watched, session = run(spool=64 * KiB), FakeSession()
    watched.stdout.append(b"early ")
    for _ in range(8):
        watched.stdout.append(b"x" * 32 * KiB)
    watched.stdout.hold(watched.stdout.end)
    assert watched.stdout.start > 6
    numbers = [wait_for(session, watched, pattern) for pattern in (b"early", b"^x", b"\\bx", b"x")]
    assert await session.last(numbers[3]) == matched(watched.stdout.start, watched.stdout.start + 1)
    finish(watched)
    for number in numbers[:3]:
        last = await session.last(number)
        assert isinstance(last, m.Matched)
        assert last.reason == "ended"


async def test_a_ring_on_disk_is_searched_across_its_wrap(tmp_path: Path) -> None:
    watched, session = run(tmp_path, disk_spool=64 * KiB), FakeSession()
    watched.stdout.append(b"." * (64 * KiB - 2) + b"here")
    assert await session.last(wait_for(session, watched, b"here")) == matched(64 * KiB - 2, 64 * KiB + 2)
    watched.close()


async def test_silence_counts_from_the_last_output_and_not_from_before_the_wait() -> None:
    watched, session = run(), FakeSession()
    await asyncio.sleep(0)
    start_time = time.monotonic()
    number = wait_for(session, watched, b"never", idle=0.5)
    for _ in range(5):
        await asyncio.sleep(0.02)  # the program prints more often than that
        watched.stdout.append(b"x")
    assert await session.last(number) == m.Matched(reason="idle", start=5, end=5)
    assert time.monotonic() - start_time >= 0.55
    watched.stderr.append(b"elsewhere")
    assert await session.last(wait_for(session, watched, stream="stderr", idle=0.01)) == m.Matched(
        reason="idle", start=9, end=9
    )


async def test_a_program_that_was_silent_before_the_wait_gets_the_full_time() -> None:
    watched, session = run(), FakeSession()
    watched.stdout.touched = time.monotonic() - 60
    start_time = time.monotonic()
    assert await session.last(wait_for(session, watched, idle=0.05)) == m.Matched(reason="idle", start=0, end=0)
    assert time.monotonic() - start_time >= 0.05


async def test_a_timeout_and_an_end_are_answered_with_the_current_offset() -> None:
    watched, session = run(), FakeSession()
    watched.stdout.append(b"four")
    assert await session.last(wait_for(session, watched, timeout=0.01)) == m.Matched(reason="timeout", start=4, end=4)
    number = wait_for(session, watched, b"more")
    watched.stdout.append(b"five5")
    finish(watched)
    assert await session.last(number) == m.Matched(reason="ended", start=9, end=9)
    assert await session.last(wait_for(session, watched)) == m.Matched(reason="ended", start=9, end=9)
    assert await session.last(wait_for(session, watched, b"rfive")) == matched(3, 8)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (b"(", "missing \\): \\($"),
        (b"caf\xe9[", "missing ]"),
        (b"[\xc3\xa9", "missing ]: \\[é$"),
        (b"(?=x)", "invalid perl operator: \\(\\?="),
        (b"(.{1000}|x{1000}){1}" * 3, "too large"),
    ],
)
def test_an_invalid_pattern_is_refused_with_the_message_of_re2(pattern: bytes, words: str) -> None:
    with pytest.raises(BadPattern, match=words):
        Pattern(pattern)


async def test_an_offset_beyond_the_output_is_refused() -> None:
    watched = run()
    watched.stdout.append(b"four")
    with pytest.raises(BadOffset, match="has 4 bytes, so waiting cannot start at offset 5"):
        wait_for(FakeSession(), watched, b"x", offset=5)


@pytest.mark.parametrize("leave", ["lost", "close"])
async def test_no_task_or_listener_remains_of_a_client_that_leaves(leave: str) -> None:
    watched, session = run(), FakeSession()
    others = list(watched.stdout.listeners)
    request = m.WaitFor(id=watched.plan.id, pattern=b"x", idle=60, timeout=60)
    channel = WaitChannel(session, session.open(request), watched, request, user="ada")
    channel.begin()
    await asyncio.sleep(0)
    assert len(watched.attachments) == 0
    if leave == "lost":
        channel.lost()
    else:
        session.close(channel.number)
        channel.received(m.Close())
        assert session.forgotten == [channel]
    await asyncio.sleep(0)
    assert (watched.attachments.bystanders, watched.stdout.listeners) == ([], others)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_failed_run_ends_the_wait_with_an_error() -> None:
    watched, session = run(), FakeSession()
    number = wait_for(session, watched, b"x")
    watched.refuse("no")
    assert await session.last(number) == m.Error(code=ErrorCode.UNAVAILABLE, message="no")


async def test_an_expensive_pattern_does_not_delay_others() -> None:
    watched, session = run(spool=8 * MiB), FakeSession()
    watched.stdout.append(b"ab" * (512 * KiB))
    number = wait_for(session, watched, b"[ab]*a" + b"[ab]{1000}" * 3 + b"c")  # a fifth of a second per chunk
    until, turns = time.thread_time() + 0.1, 0  # the search would count, if this thread did it
    while time.thread_time() < until:
        await asyncio.sleep(0)
        turns += 1
    assert turns > 100
    assert number not in session.received


async def test_patterns_count_until_their_waits_are_over() -> None:
    watched, session = run(), FakeSession()
    watched.stdout.append(b"here")
    waits = MAX_PATTERNS_PER_ACCOUNT // MAX_PATTERN_MEMORY
    numbers = [wait_for(session, watched, b"(a|b|c){900}x", timeout=0.1) for _ in range(waits)]
    with pytest.raises(TooManyPatterns):
        wait_for(session, watched, b"here")
    for number in numbers:
        await session.last(number)
    assert await session.last(wait_for(session, watched, b"here")) == matched(0, 4)
