"""Callers share a connection without noticing each other; what one does wrong, or does not do, harms only itself."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from farhand_client.helper.borrower import ASK_TIMEOUT, MAX_QUEUED, Borrower
from farhand_protocol.frames import Kind, encode_frame
from tests.support.clock import virtual_time
from tests.support.relay_board import RUN, Board, FakeTransport, deliver, message, turn


async def test_each_caller_numbers_its_channels_as_if_it_were_alone(board: Board) -> None:
    (one, to_one), (other, to_other) = board.caller(), board.caller()
    deliver(one, message(0, "hello"), message(1, "run", **RUN))
    deliver(other, message(5, "run", **RUN), encode_frame(Kind.STDIN, 5, b"input"))
    deliver(one, message(2, "list"))
    frames = board.service.taken()
    assert [(channel, load if kind != Kind.MESSAGE else load["type"]) for kind, channel, load in frames] == [
        (1, "run"),
        (2, "run"),
        (2, b"input"),
        (3, "list"),
    ]
    deliver(board.upstream, encode_frame(Kind.STDOUT, 2, b"for other"), message(3, "runs"), message(1, "started"))
    assert to_one.taken() == [(Kind.MESSAGE, 2, {"type": "runs"}), (Kind.MESSAGE, 1, {"type": "started"})]
    assert to_other.taken() == [(Kind.STDOUT, 5, b"for other")]


@pytest.mark.parametrize(
    "mistake",
    [
        message(0, "error", code="internal", message="x"),
        message(0, "login"),
        encode_frame(Kind.MESSAGE, 0, b"[1]"),
        encode_frame(Kind.MESSAGE, 0, b"{"),
        message(0, "ping"),
        encode_frame(Kind.STDIN, 9, b"x"),
        message(1, "close") * 2,
        message(1, "close") + encode_frame(Kind.STDIN, 1, b"x"),
        encode_frame(9, 1, b"x"),
        encode_frame(Kind.STDIN, 1, b"x" * 65537),
        encode_frame(Kind.MESSAGE, 1, b"x" * 32769),
        message(0, "hello"),
    ],
)
async def test_a_caller_that_breaks_the_protocol_is_cut_off_alone(board: Board, mistake: bytes) -> None:
    (caller, transport), (_, to_other) = board.caller(), board.caller()
    deliver(caller, message(0, "hello"), message(1, "run", **RUN))
    deliver(caller, mistake)
    await turn()
    assert transport.closed
    assert not to_other.closed
    assert not board.service.closed
    assert caller not in board.upstream.callers


async def test_a_large_request_may_open_a_channel(board: Board) -> None:
    caller, _ = board.caller()
    deliver(caller, message(1, "run", id="x", argv=["x" * 200_000]))
    ((_, _, load),) = board.service.taken()
    assert len(load["argv"][0]) == 200_000


async def test_while_the_connection_is_full_nothing_is_read_from_its_callers(board: Board) -> None:
    _, transport = board.caller()
    board.upstream.pause_writing()
    assert [each.reading for each in (transport,)] == [False]
    late = Borrower(board, 100)
    to_late = FakeTransport(late, transport.get_extra_info("socket"))
    late.connection_made(to_late)
    deliver(late, encode_frame(0x81, 0, b"request"))
    assert not to_late.reading
    board.upstream.resume_writing()
    assert [each.reading for each in (transport, to_late)] == [True, True]


async def test_a_caller_that_reads_nothing_is_cut_off_before_it_takes_all_memory(board: Board) -> None:
    caller, transport = board.caller()
    deliver(caller, message(1, "run", **RUN))
    transport.waiting = MAX_QUEUED
    deliver(board.upstream, encode_frame(Kind.STDOUT, 1, b"x"))
    assert board.much == 1
    assert not transport.closed
    transport.waiting = MAX_QUEUED + 1
    deliver(board.upstream, encode_frame(Kind.STDOUT, 1, b"x"), encode_frame(Kind.STDOUT, 1, b"x"))
    assert transport.closed


async def test_only_this_users_processes_are_served(
    board: Board, sock: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farhand_client.helper.borrower.os.geteuid", lambda: os.getuid() + 1)
    caller = Borrower(board, 100)
    transport = FakeTransport(caller, sock)
    caller.connection_made(transport)
    assert transport.closed


@virtual_time
async def test_a_connection_that_asks_for_nothing_is_closed(sock: socket.socket) -> None:
    board = Board(sock)
    silent, asking = Borrower(board, 100), Borrower(board, 100)
    transports = [FakeTransport(each, sock) for each in (silent, asking)]
    for each, transport in zip((silent, asking), transports, strict=True):
        each.connection_made(transport)
    deliver(asking, encode_frame(0x81, 0, b"request"))
    await asyncio.sleep(ASK_TIMEOUT)
    assert [transport.closed for transport in transports] == [True, False]
