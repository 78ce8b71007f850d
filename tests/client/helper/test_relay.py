"""Callers share a connection without noticing each other; what one does wrong, or does not do, harms only itself."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from farhand_client.helper import relay
from farhand_client.helper.framing import FrameProtocol
from farhand_client.helper.relay import MAX_QUEUED, Borrower, Upstream, message_type
from farhand_protocol.frames import MAX_PONGS, FrameDecoder, Kind, encode_frame
from farhand_protocol.limits import Limits
from tests.support.client import TIMEOUT

WELCOME = encode_frame(Kind.MESSAGE, 0, b'{"type":"welcome"}')


class FakeTransport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self, end: FrameProtocol, sock: socket.socket | None = None) -> None:
        super().__init__(extra={"socket": sock})
        self.end = end
        self.written = b""
        self.waiting = 0
        self.reading = True
        self.closed = False
        self.ended = asyncio.Event()

    def write(self, data: Any) -> None:
        assert not self.closed
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high is not None

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self.closed:
            self.closed = True
            self.ended.set()
            asyncio.get_running_loop().call_soon(self.end.connection_lost, None)

    def taken(self) -> list[tuple[int, int, Any]]:
        """Return the frames written since the last call; messages as objects."""
        data, self.written = self.written, b""
        frames = FrameDecoder(lambda *_: None).frames(data)
        return [(kind, channel, json.loads(load) if kind == Kind.MESSAGE else load) for kind, channel, load in frames]


def deliver(end: FrameProtocol, *frames: bytes) -> None:
    """Let frames arrive."""
    data = b"".join(frames)
    while data:
        buffer = end.get_buffer(-1)
        count = min(len(buffer), len(data))
        buffer[:count] = data[:count]
        end.buffer_updated(count)
        data = data[count:]


def message(channel: int, kind: str, **fields: object) -> bytes:
    return encode_frame(Kind.MESSAGE, channel, json.dumps({"type": kind, **fields}, separators=(",", ":")).encode())


class Board:
    """A switchboard that serves everybody, and the two ends."""

    def __init__(self, sock: socket.socket) -> None:
        self.gone = 0
        self.much = 0
        self.parted_callers: list[Borrower] = []
        self._sock = sock
        self.upstream = Upstream(Limits(), self._gone)
        self.service = FakeTransport(self.upstream)
        self.upstream.take(self.service)

    def _gone(self, upstream: Upstream) -> None:
        self.gone += 1

    def caller(self) -> tuple[Borrower, FakeTransport]:
        """Return a caller that is served, and its transport."""
        caller = Borrower(self, 100)
        transport = FakeTransport(caller, self._sock)
        caller.connection_made(transport)
        deliver(caller, encode_frame(0x81, 0, b"request"))
        assert transport.taken() == [(Kind.MESSAGE, 0, {"type": "welcome"})]
        return caller, transport

    def joined(self, caller: Borrower) -> None:
        """Nothing to do."""

    def asked(self, caller: Borrower, kind: int, payload: bytes) -> None:
        assert (kind, payload) == (0x81, b"request")
        caller.serve(self.upstream, WELCOME)

    def parted(self, caller: Borrower) -> None:
        self.parted_callers.append(caller)

    def much_queued(self) -> None:
        self.much += 1


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    one, other = socket.socketpair()
    with one, other:
        yield one


@pytest.fixture
async def board(sock: socket.socket) -> Board:
    return Board(sock)


async def turn() -> None:
    """Let what is due happen."""
    for _ in range(3):
        await asyncio.sleep(0)


RUN = {"id": "x", "argv": ["true"]}


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


async def test_a_connection_has_as_many_channels_as_a_service_has_runs(board: Board) -> None:
    caller, transport = board.caller()
    for number in range(1, relay.MAX_OPEN_CHANNELS + 1):
        deliver(caller, message(number, "run", **RUN))
    assert not transport.closed
    assert not board.upstream.usable, "others connect by themselves"
    deliver(caller, message(relay.MAX_OPEN_CHANNELS + 1, "run", **RUN))
    assert transport.closed


async def test_a_connection_that_was_silent_is_tried_when_a_caller_comes(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "SILENT_TIME", 0.0)
    monkeypatch.setattr(relay, "LIVENESS_TIMEOUT", 0.01)
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


async def test_only_this_users_processes_are_served(
    board: Board, sock: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farhand_client.helper.relay.os.geteuid", lambda: os.getuid() + 1)
    caller = Borrower(board, 100)
    transport = FakeTransport(caller, sock)
    caller.connection_made(transport)
    assert transport.closed


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (b'{"type":"close"}', b"close"),
        (b'{"type":"ended","outcome":{}}', b"ended"),
        (b'{"lost":true,"type":"close"}', b"close"),
        (b'{ "type": "done" }', b"done"),
        (b'{"type":"\\u0064one"}', b"done"),
        (b'{"type":7}', b""),
        (b"{}", b""),
    ],
)
def test_the_type_of_a_message_is_found_however_it_is_written(payload: bytes, kind: bytes) -> None:
    assert message_type(memoryview(encode_frame(Kind.MESSAGE, 1, payload))) == kind
