"""A listing is sent in messages that fit the client's limit, whatever the runs contain, and built as it is consumed."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest

from farhand_protocol import messages as m
from farhand_protocol.limits import MIN_DATA, MIN_MESSAGE, Limits
from farhand_protocol.messages.codec import pack_runs
from farhand_protocol.outcome import Exited, Killed, Outcome, SpawnFailed
from farhand_protocol.states import Side
from tests.support.pairs import RUN_ID, Pair, sent

LONGEST = "\x01" * 5000  # six bytes for each character
LARGE = Limits()
SMALL = Limits(message=MIN_MESSAGE, data=MIN_DATA, window=MIN_DATA)


def info(command: str = "make -j8 all", outcome: Outcome | None = None, owner: str = "ada") -> m.RunInfo:
    most = m.MAX_COUNT
    return m.RunInfo(
        id=RUN_ID,
        owner=owner,
        command=command,
        began=1731000000.123456,
        duration=0.1 + 0.2,
        stdout=most,
        stderr=most,
        pid=most,
        attachments=most,
        outcome=outcome,
    )


WORST = [
    info(LONGEST[: m.MAX_COMMAND_TEXT], outcome, LONGEST[:255])
    for outcome in (
        SpawnFailed(errno=4095, error=LONGEST[:32], what="directory", message=LONGEST),
        Killed(reason="file_size", message=LONGEST, signal=64),
    )
]


@pytest.mark.parametrize("worst", WORST, ids=["spawn_failed", "killed"])
def test_any_run_fits_the_smallest_peer(worst: m.RunInfo) -> None:
    assert len(m.encode(m.Runs(runs=(worst,)))) <= MIN_MESSAGE


@pytest.mark.parametrize("limits", [LARGE, SMALL], ids=["large", "small"])
@pytest.mark.parametrize("runs", [[info()] * 1000, WORST * 50, [], [info(outcome=Exited(code=0))]])
def test_a_listing_arrives_whole_in_messages_that_fit(runs: list[m.RunInfo], limits: Limits) -> None:
    pair = Pair.ready(limits)
    pair.client.open(m.List())
    pair.deliver()
    for part in pack_runs(runs, limits.message):
        assert 0 < len(part.runs) <= m.MAX_RUNS
        pair.server.send(1, part)
    pair.server.send(1, m.Done())
    parts = [frame.message for frame in sent(pair.server)]
    assert isinstance(parts.pop(), m.Done)
    assert [run for part in parts if isinstance(part, m.Runs) for run in part.runs] == runs


def test_a_message_is_filled_to_the_last_byte() -> None:
    one = len(m.encode(m.Runs(runs=(info(),))))
    two = len(m.encode(m.Runs(runs=(info(), info()))))
    assert [len(part.runs) for part in pack_runs([info()] * 4, two)] == [2, 2]
    assert [len(part.runs) for part in pack_runs([info()] * 4, two - 1)] == [1, 1, 1, 1]
    assert one < two - 1


def test_a_listing_of_long_commands_counts_as_flood_until_it_is_read() -> None:
    """A client that requests without reading is not read from, and little more than the bound is queued for it."""
    pair = Pair.ready()
    server = pair.server
    pair.client.open(m.List())
    pair.deliver()
    parts = 0
    for part in pack_runs([info("x" * m.MAX_COMMAND_TEXT)] * 1000, LARGE.message):
        if server.flooded:
            break
        server.send(1, part)
        parts += 1
    assert server.flooded
    assert parts < 10
    assert server.queued < 2 * server.limits.control
    server.data_to_send()
    assert not server.flooded


def test_a_listing_is_built_as_it_is_consumed() -> None:
    made = 0

    def runs() -> Iterator[m.RunInfo]:
        nonlocal made
        while True:
            made += 1
            yield info()

    parts = pack_runs(runs(), LARGE.message)
    next(parts)
    assert made == m.MAX_RUNS + 1


def test_a_thousand_runs_take_less_than_two_megabytes_to_read() -> None:
    pair = Pair.ready()
    pair.client.open(m.List(limit=m.MAX_LISTED))
    pair.deliver()
    for part in pack_runs([info()] * m.MAX_LISTED, LARGE.message):
        pair.server.send(1, part)
    pair.collect(Side.SERVER)
    size = len(pair.wire[Side.SERVER])
    assert size < 400 * 1024
    tracemalloc.start()
    for _ in pair.transfer(Side.SERVER, size):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * 1024 * 1024
