"""A run's channel sends nothing before the start or after its last message, and no end before it is recorded."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from farhand_protocol import messages as m
from farhand_protocol.connection import Connection
from farhand_protocol.errors import ErrorCode
from farhand_protocol.events import DataReceived, MessageReceived
from farhand_protocol.frames import Kind, encode_frame
from farhand_protocol.outcome import Exited, SpawnFailed
from farhand_protocol.states import Side
from farhand_server.connection.channels.handler import ChannelHandler, ReceivingChannel
from farhand_server.connection.channels.run import MAX_ECHO, RunChannel
from farhand_server.runs.attachments.attachments import BadOffset
from farhand_server.runs.output.directory import SpoolDirectory
from farhand_server.runs.output.spool import SpoolMemory
from farhand_server.runs.plan import Plan, RunResult
from farhand_server.runs.run import LiveRun
from farhand_server.runs.streams.pipe_input import MIN_STDIN
from tests.support.client import new_id

LIMITS = Connection(Side.CLIENT).announced_limits
MiB = 1 << 20
ID = new_id()


class Outlet:
    """A session whose channels send when the test allows it, and its client."""

    def __init__(self) -> None:
        self.connection = Connection(Side.SERVER)
        self.client = Connection(Side.CLIENT)
        self.client.send(0, m.Hello(versions=(1,), software="test", limits=LIMITS, nonce=bytes(32)))
        self.exchange()
        self.connection.send(
            0,
            m.Welcome(
                version=1, software="test", limits=self.connection.announced_limits, login=False, nonce=bytes(32)
            ),
        )
        self.connection.send(0, m.Accepted(user="ada", host="here"))
        self.exchange()
        self.holding: set[ReceivingChannel] = set()
        self.awaited = False
        """Whether the channel that was scheduled last may send in this loop iteration."""

    def exchange(self) -> list[str]:
        """Transfer everything both ways; return what the client got: message types, and `STREAM:BYTES` for data."""
        for data in self.client.data_to_send():
            list(self.connection.receive_data(data))
        arrived = []
        for data in self.connection.data_to_send():
            for event in self.client.receive_data(data):
                if isinstance(event, DataReceived):
                    arrived.append(f"{event.stream}:{len(event.data)}")
                else:
                    assert isinstance(event, MessageReceived), event
                    arrived.append(event.message.type)
        return arrived

    def feed(self, channel: RunChannel, data: bytes) -> None:
        """Let the client send stdin."""
        self.client.send_data(channel.number, "stdin", data)
        self.exchange()
        channel.received_data(data)

    def open(self, run: LiveRun, request: m.RunRequest | m.Attach) -> RunChannel:
        """Open a channel with the client's request."""
        number = self.client.open(request)
        self.exchange()
        channel = RunChannel(self, number, run, request, new=isinstance(request, m.RunRequest))
        channel.begin()
        return channel

    def send_garbage(self) -> None:
        """Let a message arrive that cannot be decoded."""
        list(self.connection.receive_data(encode_frame(Kind.MESSAGE, 1, b"{}")))

    def flush_soon(self) -> None:
        """Do nothing: the test flushes."""

    def schedule(self, channel: ChannelHandler, *, awaited: bool = False) -> None:
        channel.scheduled = True
        self.awaited = awaited

    def hold(self, channel: ReceivingChannel) -> None:
        self.holding.add(channel)

    def release(self, channel: ReceivingChannel) -> None:
        self.holding.discard(channel)

    def forget(self, channel: ChannelHandler) -> None:
        """Do nothing: the test flushes."""


def run_of(request: m.RunRequest, directory: Path = Path("/nowhere"), **fields: Any) -> LiveRun:
    """Return the run of that request, not yet started."""
    given: dict[str, Any] = {
        "id": request.id, "owner": "ada", "uid": 0, "fingerprint": b"", "command": "true", "argv": (b"true",),
        "cwd": b"/", "env": dict(os.environb), "stdin": request.stdin, "merge_stderr": False, "timeout": None,
        "idle_timeout": None, "kill_after": 1.0, "linger": 1.0, "keep": False, "grace": 60.0, "spool": 2 * MiB,
    }  # fmt: skip
    return LiveRun(Plan(**given | fields), SpoolMemory(1 << 30), SpoolDirectory(directory))


def begin(run: LiveRun) -> None:
    """Pretend that the program is running."""
    run.pid = 7
    for watcher in run.attachments.watchers():
        watcher.started()


def end(run: LiveRun) -> None:
    """End the run without recording its end."""
    run.stdout.finish()
    run.stderr.finish()
    run.result = RunResult(Exited(code=0), run.stdout.end, run.stderr.end, 1.0)


@pytest.fixture
async def outlet() -> Outlet:
    return Outlet()


def turn(channel: RunChannel) -> None:
    """Give the channel turns until it has sent everything."""
    while channel.send_some():
        pass


def fail_by_the_client(outlet: Outlet, channel: RunChannel) -> None:
    """Fail because of a message that cannot be decoded."""
    outlet.send_garbage()
    channel.lost()


def fail_by_the_service(outlet: Outlet, channel: RunChannel) -> None:
    """Fail because of a bug in the service."""
    channel.failed(ErrorCode.INTERNAL, "a fault")


def fail_by_a_new_connection(outlet: Outlet, channel: RunChannel) -> None:
    """Fail because the same client attaches again."""
    channel.replaced()


@pytest.mark.parametrize("fail", [fail_by_the_client, fail_by_the_service, fail_by_a_new_connection])
async def test_pending_messages_are_not_sent_after_the_channel_has_failed(
    fail: Callable[[Outlet, RunChannel], None], outlet: Outlet
) -> None:
    request = m.RunRequest(id=ID, argv=(b"true",))
    run = run_of(request)
    channel = outlet.open(run, request)
    begin(run)
    run.stdout.append(b"output")
    run.stdout.finish()
    fail(outlet, channel)
    queued = outlet.connection.queued
    assert not channel.send_some()
    assert outlet.connection.queued == queued
    end(run)
    run.announce_end()
    assert not channel.send_some()
    assert outlet.connection.queued == queued


async def test_no_end_is_sent_before_it_is_recorded(outlet: Outlet) -> None:
    request = m.RunRequest(id=ID, argv=(b"true",))
    run = run_of(request)
    first = outlet.open(run, request)
    begin(run)
    end(run)
    second = outlet.open(run, m.Attach(id=ID, stdout=0, stderr=0))
    turn(first)
    turn(second)
    assert "ended" not in outlet.exchange()
    run.announce_end()
    turn(first)
    turn(second)
    assert outlet.exchange() == ["ended", "ended"]


async def test_a_run_that_never_started_has_no_streams(outlet: Outlet) -> None:
    request = m.RunRequest(id=ID, argv=(b"true",))
    run = run_of(request)
    channel = outlet.open(run, request)
    run.stdout.finish()
    run.stderr.finish()
    turn(channel)
    run.result = RunResult(SpawnFailed(errno=2, error="ENOENT", what="program", message="no"), 0, 0, 0.0)
    run.announce_end()
    turn(channel)
    assert outlet.exchange() == ["ended"]


async def test_stdin_that_arrives_before_the_start_is_acknowledged_after_it(outlet: Outlet) -> None:
    request = m.RunRequest(id=ID, argv=(b"cat",), stdin=True)
    run = run_of(request)
    outlet.open(run, request)
    stranger = outlet.open(run, request)
    for _ in range(16):
        outlet.client.send_data(2, "stdin", bytes(64 << 10))
        stranger.received_data(bytes(64 << 10))
    assert outlet.exchange() == []
    begin(run)
    assert outlet.exchange()[:2] == ["started", "started"]
    assert outlet.client.room(2, "stdin") > 0


async def test_clients_that_attach_again_and_again_cannot_fill_memory_with_unread_stdin(outlet: Outlet) -> None:
    request = m.RunRequest(id=ID, attachment=b"k" * 16, argv=(b"sleep", b"60"), stdin=True)
    run = run_of(request)
    outlet.open(run, request)
    window = 4 * MiB
    for received in (0, window):
        outlet.open(run, m.Attach(id=ID, attachment=b"k" * 16, stdin=received)).received_data(bytes(window))
    with pytest.raises(BadOffset, match="of which its program has read 0; it cannot continue at"):
        outlet.open(run, m.Attach(id=ID, attachment=b"k" * 16, stdin=2 * window))
    outlet.open(run, m.Attach(id=ID, attachment=b"k" * 16, stdin=0))  # as a client does after a reconnect


async def test_a_client_that_missed_the_end_gets_it_on_a_new_connection_while_the_old_one_seems_alive(
    outlet: Outlet,
) -> None:
    request = m.RunRequest(id=ID, attachment=b"k" * 16, argv=(b"true",))
    run = run_of(request)
    before = outlet.open(run, request)
    begin(run)
    end(run)
    run.announce_end()
    turn(before)
    assert outlet.exchange()[-1] == "ended"
    new_connection = Outlet()
    turn(new_connection.open(run, m.Attach(id=ID, attachment=b"k" * 16, stdout=0, stderr=0, hold=True)))
    assert new_connection.exchange() == ["started", "end", "end", "ended"]
    assert outlet.exchange() == []


async def test_an_attachment_that_does_not_follow_ends_at_the_current_output(outlet: Outlet) -> None:
    request = m.RunRequest(id=ID, argv=(b"true",))
    run = run_of(request)
    begin(run)
    run.stdout.append(b"so far")
    channel = outlet.open(run, m.Attach(id=ID, stdout=0, stderr=0, follow=False))
    run.stdout.append(b"and on")
    turn(channel)
    assert outlet.exchange() == ["started", "stdout:6", "end", "end", "done"]


async def test_an_attachment_that_does_not_follow_ends_even_without_output(outlet: Outlet) -> None:
    request = m.RunRequest(id=ID, argv=(b"true",))
    run = run_of(request)
    channel = outlet.open(run, m.Attach(id=ID, stdout=0, follow=False))
    begin(run)
    assert channel.scheduled
    turn(channel)
    assert outlet.exchange() == ["started", "end", "done"]


@pytest.mark.parametrize(("size", "awaited"), [(1, True), (MAX_ECHO, True), (MAX_ECHO + 1, False)])
async def test_only_little_output_is_sent_in_the_same_loop_iteration(outlet: Outlet, size: int, awaited: bool) -> None:
    request = m.RunRequest(id=ID, argv=(b"true",))
    run = run_of(request)
    channel = outlet.open(run, request)
    begin(run)
    run.stdout.append(bytes(size))
    assert (channel.scheduled, outlet.awaited) == (True, awaited)
    turn(channel)
    channel.scheduled = outlet.awaited = False
    run.stderr.append(b"x")
    assert outlet.awaited, "output sent before does not count"


async def test_credit_for_a_stream_that_was_not_requested_is_ignored(outlet: Outlet) -> None:
    request = m.RunRequest(id=ID, argv=(b"true",), stdin=True, merge_stderr=True)
    run = run_of(request)
    channel = outlet.open(run, request)
    for stream in ("stdin", "stderr"):
        channel.received(m.Credit.model_validate({"stream": stream, "bytes": 5}))
    begin(run)
    run.stdout.append(b"goes on")
    turn(channel)
    assert outlet.exchange() == ["started", "stdout:7"]


@pytest.mark.parametrize(("wanted", "messages"), [(0, ["started", "gap", "stdout:65536"]), (MiB, ["started"])])
async def test_output_that_is_no_longer_kept_is_a_gap(outlet: Outlet, wanted: int, messages: list[str]) -> None:
    request = m.RunRequest(id=ID, argv=(b"true",))
    run = run_of(request)
    begin(run)
    for _ in range(64):
        run.stdout.append(bytes(16 << 10))
    run.stdout.hold(MiB)
    channel = outlet.open(run, m.Attach(id=ID, stdout=wanted))
    turn(channel)
    assert outlet.exchange() == messages


async def test_an_attachment_that_falls_behind_without_holding_gets_an_exact_gap(outlet: Outlet) -> None:
    request = m.RunRequest(id=ID, argv=(b"true",))
    run = run_of(request)
    holder = outlet.open(run, request)
    begin(run)
    watching = outlet.open(run, m.Attach(id=ID, stdout=0))
    for _ in range(64):
        run.stdout.append(bytes(16 << 10))
    turn(holder)
    holder.received(m.Credit(stream="stdout", bytes=MiB))
    assert run.stdout.start == MiB - (64 << 10)
    outlet.exchange()
    turn(watching)
    assert outlet.exchange() == ["gap", "stdout:65536"]


async def test_a_read_error_of_the_disk_is_sent_to_the_client(outlet: Outlet, tmp_path: Path) -> None:
    request = m.RunRequest(id=ID, argv=(b"true",), spool=1 << 16)
    run = run_of(request, tmp_path, disk_spool=1 << 16)
    channel = outlet.open(run, request)
    begin(run)
    run.stdout.append(b"lost" * 1000)
    os.truncate(tmp_path / f"{ID}.stdout", 0)
    turn(channel)
    assert outlet.exchange() == ["started", "error"]
    run.close()


async def test_a_connection_is_held_while_there_is_no_memory_for_its_stdin(outlet: Outlet) -> None:
    request = m.RunRequest(id=ID, argv=(b"sleep",), stdin=True)
    run = run_of(request)
    channel = outlet.open(run, request)
    begin(run)
    outlet.feed(channel, bytes(MIN_STDIN))
    assert not outlet.holding
    memory = run.stdin._memory  # noqa: SLF001  # a run has no other way to its account's part
    memory.used += memory.limit
    outlet.feed(channel, b"more")
    assert outlet.holding == {channel}
    run.stdin.close()
    assert not outlet.holding


async def test_a_channel_that_is_lost_holds_nothing(outlet: Outlet) -> None:
    request = m.RunRequest(id=ID, argv=(b"sleep",), stdin=True)
    run = run_of(request)
    channel = outlet.open(run, request)
    begin(run)
    memory = run.stdin._memory  # noqa: SLF001  # a run has no other way to its account's part
    memory.used += memory.limit
    outlet.feed(channel, bytes(MIN_STDIN))
    assert outlet.holding == {channel}
    channel.lost()
    assert not outlet.holding
