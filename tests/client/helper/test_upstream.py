"""The shared connection forgets what is over, tells whom it concerns, and ends for all when it must."""

from __future__ import annotations

import asyncio

import pytest

from farhand_client.helper import upstream
from farhand_client.helper.upstream import MAX_OPEN_CHANNELS
from farhand_protocol.frames import MAX_PONGS, Kind, encode_frame
from tests.support.client import TIMEOUT
from tests.support.relay_board import RUN, Board, deliver, message, turn


async def test_a_channel_that_both_sides_have_closed_is_forgotten(board: Board) -> None:
    caller, _ = board.caller()
    for number in range(1, 4):
        deliver(caller, message(number, "run", **RUN))
    deliver(board.upstream, message(1, "ended"), message(2, "exit"))
    deliver(caller, message(1, "close"), message(3, "close"))
    assert board.upstream.open_channels == 2
    deliver(board.upstream, message(3, "done"))
    assert board.upstream.open_channels == 1
    assert list(caller.channels) == [2]


async def test_the_channels_of_a_caller_that_vanishes_are_lost_and_others_go_on(board: Board) -> None:
    (caller, transport), (other, to_other) = board.caller(), board.caller()
    deliver(caller, message(1, "run", **RUN), message(2, "run", **RUN), message(2, "close"))
    deliver(other, message(1, "run", **RUN))
    board.service.taken()
    transport.abort()
    await turn()
    assert board.parted_callers == [caller]
    assert board.service.taken() == [(Kind.MESSAGE, 1, {"type": "close", "lost": True})]
    deliver(board.upstream, encode_frame(Kind.STDOUT, 1, b"late"), message(1, "done"), message(2, "ended"))
    deliver(board.upstream, encode_frame(Kind.STDOUT, 3, b"here"))
    assert board.upstream.open_channels == 1
    assert to_other.taken() == [(Kind.STDOUT, 1, b"here")]
    assert not board.service.closed


async def test_what_the_service_must_not_send_ends_the_connection(board: Board) -> None:
    _, transport = board.caller()
    deliver(board.upstream, message(7, "ended"))
    await turn()
    assert board.service.closed
    assert transport.closed
    assert board.gone == 1


async def test_pings_go_all_the_way_and_their_answers_to_their_senders(board: Board) -> None:
    (one, to_one), (other, to_other) = board.caller(), board.caller()
    deliver(one, message(0, "ping", id=7))
    deliver(other, message(0, "ping", id=7))
    sent = [load["id"] for _, _, load in board.service.taken()]
    for number in reversed(sent):
        deliver(board.upstream, message(0, "pong", id=number))
    deliver(board.upstream, message(0, "pong", id=999))
    for transport in (to_one, to_other):
        assert transport.taken() == [(Kind.MESSAGE, 0, {"type": "pong", "id": 7})]
    for number in range(MAX_PONGS + 3):
        deliver(one, message(0, "ping", id=number))
    for _, _, load in board.service.taken():
        deliver(board.upstream, message(0, "pong", id=load["id"]))
    assert [load["id"] for _, _, load in to_one.taken()] == list(range(3, MAX_PONGS + 3))
    deliver(board.upstream, message(0, "ping", id=5))
    assert board.service.taken() == [(Kind.MESSAGE, 0, {"type": "pong", "id": 5})]


async def test_a_service_that_pings_and_reads_nothing_costs_no_memory(board: Board) -> None:
    _, to_caller = board.caller()
    board.upstream.pause_writing()
    deliver(board.upstream, *(message(0, "ping", id=number) for number in range(MAX_PONGS + 3)))
    assert board.service.taken() == []
    board.upstream.resume_writing()
    assert [load["id"] for _, _, load in board.service.taken()] == list(range(3, MAX_PONGS + 3))
    assert to_caller.reading


async def test_a_service_that_ends_is_announced_and_gets_no_more_callers(board: Board) -> None:
    _, transport = board.caller()
    deliver(board.upstream, message(0, "going_away", grace=5))
    assert transport.taken() == [(Kind.MESSAGE, 0, {"type": "going_away", "grace": 5})]
    assert not board.upstream.usable
    assert not board.service.closed
    transport.abort()
    await turn()
    assert board.service.closed


@pytest.mark.parametrize("how", ["lost", "error"])
async def test_callers_are_cut_off_when_the_connection_is_lost(board: Board, how: str) -> None:
    caller, transport = board.caller()
    deliver(caller, message(1, "run", **RUN))
    if how == "lost":
        board.service.abort()
    else:
        deliver(board.upstream, message(0, "error", code="unavailable", message="x"))
    await turn()
    assert transport.closed
    assert (board.gone, board.upstream.lost) == (1, True)


async def test_a_connection_has_as_many_channels_as_a_service_has_runs(board: Board) -> None:
    caller, transport = board.caller()
    for number in range(1, MAX_OPEN_CHANNELS + 1):
        deliver(caller, message(number, "run", **RUN))
    assert not transport.closed
    assert not board.upstream.usable, "others connect by themselves"
    deliver(caller, message(MAX_OPEN_CHANNELS + 1, "run", **RUN))
    assert transport.closed


async def test_a_connection_that_was_silent_is_tried_when_a_caller_comes(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "SILENT_TIME", 0.0)
    monkeypatch.setattr(upstream, "LIVENESS_TIMEOUT", 0.01)
    _, transport = board.caller()
    ((_, _, ping),) = board.service.taken()
    assert ping["type"] == "ping"
    deliver(board.upstream, message(0, "pong", id=ping["id"]))
    await asyncio.sleep(0.02)
    assert not transport.closed
    board.caller()
    async with asyncio.timeout(TIMEOUT):
        await transport.ended.wait()
    assert board.upstream.lost
