"""A run over a connection that is logged in: what the service says and what follows from it, message by message."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from farhand_client.direct.deadline import NotDirectError
from farhand_client.direct.running import DirectRun
from farhand_client.direct.signals import CollectedSignals
from farhand_client.direct.wire import Wire
from farhand_client.direct.words import plain_command
from farhand_client.handover import Handover, LostConnection
from farhand_client.ui.unread_stdin import UnreadStdin
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.events import ConnectionFailed
from farhand_protocol.frames import Kind
from farhand_protocol.limits import CLIENT_LIMITS
from farhand_protocol.outcome import Exited, Killed, Outcome, Signaled, SpawnFailed
from farhand_protocol.states import Phase, Side
from tests.support import pairs
from tests.support.direct_peers import STARTED, WELCOME, Peer, acting, ended, out, whole
from tests.support.fake_runs import ID
from tests.support.pairs import frames, in_phase, message


def result(*answers: bytes, options: tuple[str, ...] = ()) -> int | Handover:
    """Return what becomes of a run at which the service says all of that, and then closes the connection."""

    def script(peer: Peer) -> None:
        peer.until(m.RunRequest)
        peer.send(*answers)
        peer.sock.shutdown(socket.SHUT_WR)

    with acting(script, *options) as run:
        return run.go()


@pytest.mark.parametrize(("outcome", "code"), [(Exited(code=3), 3), (Signaled(signal=9), 137)])
def test_output_is_written_and_the_outcome_is_the_exit_code(
    capfdbinary: pytest.CaptureFixture[bytes], outcome: Outcome, code: int
) -> None:
    answers = (STARTED, out(b"one"), out(b"err", Kind.STDERR), out(b"two"), ended(outcome, 6, 3))
    assert result(*answers) == code
    assert capfdbinary.readouterr() == (b"onetwo", b"err")


def test_the_client_says_goodbye_and_answers_pings() -> None:
    def script(peer: Peer) -> None:
        peer.until(m.RunRequest)
        peer.send(message(0, m.Ping(id=5)), message(0, m.GoingAway(grace=1)), STARTED)
        assert peer.until(m.Pong) == m.Pong(id=5)
        peer.send(message(1, m.Exit(outcome=Exited(code=0))), message(1, m.End(stream="stdout")), ended())
        peer.until(m.Close)

    with acting(script) as run:
        assert run.go() == 0


@pytest.mark.parametrize(
    "last",
    [
        ended(SpawnFailed(errno=2, error="ENOENT", what="program", message="no")),
        ended(Killed(reason="memory", signal=9)),
        ended(stdout=5),
        ended(left_processes=m.LeftProcesses(count=1, names=("sleep",), stopped=True)),
        message(1, m.Error(code=ErrorCode.DENIED, message="no")),
    ],
)
def test_an_end_that_takes_words_is_handed_over(last: bytes) -> None:
    handover = result(STARTED, last)
    assert isinstance(handover, Handover)
    assert (handover.lost, handover.final) == (None, frames(last)[0].payload)


def test_a_lost_connection_is_handed_over_with_the_offsets(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    handover = result(STARTED, out(b"12345"), out(b"678", Kind.STDERR), out(b"cut off")[:12])
    assert isinstance(handover, Handover)
    assert (handover.lost, handover.final) == (LostConnection(), None)
    assert handover.started is not None
    assert handover.started["pid"] == 7
    assert handover.request["id"] == ID
    assert [handover.streams[name].written for name in ("stdout", "stderr")] == [5, 3]
    assert capfdbinary.readouterr() == (b"12345", b"678")


def test_before_the_start_everything_is_still_to_come() -> None:
    handover = result()
    assert isinstance(handover, Handover)
    assert (handover.started, handover.lost) == (None, LostConnection())


GAP = message(1, m.GapNotice(stream="stdout", offset=0, bytes=5))


CREDIT = message(1, m.Credit(stream="stdin", bytes=1))


@pytest.mark.parametrize(
    "answers",
    [
        [ended() + ended()],
        [STARTED, STARTED],
        [out(b"early")],
        [CREDIT],
        [STARTED, message(1, m.End(stream="stdout")), out(b"x")],
        [STARTED, message(1, m.End(stream="stdin"))],
        [STARTED, out(b"x", Kind.STDIN)],
        [STARTED, message(2, m.Exit(outcome=Exited(code=0)))],
        [STARTED, message(1, m.Exit(outcome=Exited(code=0))) * 2],
        [STARTED, message(1, m.Done())],
        [STARTED, message(1, m.Resize(columns=1, rows=1))],
        [STARTED, pairs.text(1, '{"type":"exit"}')],
        [STARTED, pairs.text(1, '{"type":"exit","type":"exit"}')],
        [STARTED, pairs.text(0, "[]")],
        [message(0, m.Refused(attempts_left=1))],
        [STARTED, bytes.fromhex("0000010900000001")],
        [STARTED] + [out(bytes(65536))] * 65,
    ],
)
def test_a_violation_of_the_protocol_is_named_as_by_the_asyncio_client(answers: list[bytes]) -> None:
    connection = in_phase(Side.CLIENT, Phase.READY)
    connection.open(pairs.run())
    failed = [event for event in connection.receive_data(b"".join(answers)) if isinstance(event, ConnectionFailed)]
    if answers[0] == ended() + ended():
        assert result(*answers) == 0  # nothing after the end matters here
        return
    handover = result(*answers) if len(answers) < 9 else flooded(answers)
    assert isinstance(handover, Handover)
    assert handover.lost is not None
    # How many bytes were too many depends on how many arrived together.
    lost, reason = (re.sub(r"\d+", "N", text) for text in (handover.lost.text, failed[0].error.reason))
    assert handover.lost._replace(text=lost) == LostConnection(failed[0].error.code, reason, broken=True)


def flooded(answers: list[bytes]) -> int | Handover:
    """Return the result while nobody reads our stdout, so that no credit is returned."""
    reading, writing = os.pipe()
    kept = os.dup(1)
    os.dup2(writing, 1)
    try:
        return result(*answers)
    finally:
        os.dup2(kept, 1)
        for fd in (kept, reading, writing):
            os.close(fd)


class SlowWire(Wire):
    """Says after the request that more is unsent than a service may leave unread, until it was flushed three times."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.calls: list[str] = []

    @property
    def unsent(self) -> int:
        return CLIENT_LIMITS.control + 1 if 0 < self.calls.count("flush") < 4 else super().unsent

    def flush(self) -> None:
        self.calls.append("flush")
        super().flush()

    def receive(self) -> bool:
        self.calls.append("receive")
        return super().receive()


def test_of_a_service_that_reads_no_answers_nothing_more_is_read() -> None:
    wires: list[SlowWire] = []

    def made(sock: socket.socket) -> Wire:
        wires.append(SlowWire(sock))
        return wires[0]

    sent = threading.Event()

    def script(peer: Peer) -> None:
        peer.send(STARTED, ended())
        sent.set()

    with acting(script, made=made) as run:
        assert sent.wait(20)
        assert run.go() == 0
    assert wires[0].calls[:5] == ["flush"] * 4 + ["receive"]


def test_the_service_may_say_why_it_closes() -> None:
    denied = message(0, m.Error(code=ErrorCode.DRAINING, message="it stops"))
    handover = result(STARTED, denied)
    assert isinstance(handover, Handover)
    assert handover.lost == LostConnection(ErrorCode.DRAINING, "it stops")
    handover = result(STARTED, GAP)
    assert isinstance(handover, Handover)
    assert handover.lost == LostConnection()


@contextlib.contextmanager
def stdin_from(data: bytes, directory: Path) -> Iterator[None]:
    (directory / "stdin").write_bytes(data)
    kept = os.dup(0)
    with (directory / "stdin").open("rb") as file:
        os.dup2(file.fileno(), 0)
    try:
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)


def stdin_in(peer: Peer) -> bytes:
    return b"".join(frame.payload for frame in whole(peer.data) if frame.kind == Kind.STDIN)


def test_stdin_follows_the_credit_and_ends(tmp_path: Path) -> None:
    data = os.urandom(10_000)

    def script(peer: Peer) -> None:
        peer.until(m.RunRequest)
        peer.send(STARTED)
        while len(stdin_in(peer)) < 4096:
            peer.data += peer.sock.recv(65536)
        assert stdin_in(peer) == data[:4096]  # the window
        peer.send(message(1, m.Credit(stream="stdin", bytes=20_000)))
        peer.until(m.End)
        assert stdin_in(peer) == data
        peer.send(ended())
        peer.until(m.Close)

    with stdin_from(data, tmp_path), acting(script, "-i") as run:
        assert run.go() == 0


def test_stdin_that_was_not_read_by_the_program_is_handed_over(tmp_path: Path) -> None:
    data = os.urandom(3000)

    def script(peer: Peer) -> None:
        peer.until(m.RunRequest)
        peer.send(STARTED)
        peer.until(m.End)
        peer.send(message(1, m.Credit(stream="stdin", bytes=1500)), out(b"x"))
        peer.sock.shutdown(socket.SHUT_WR)

    with stdin_from(data, tmp_path), acting(script, "-i") as run:
        handover = run.go()
    assert isinstance(handover, Handover)
    assert (handover.stdin_offset, b"".join(handover.stdin), handover.stdin_ended) == (1500, data[1500:], True)
    assert not handover.stdin_over


def test_a_run_that_another_client_feeds_gets_nothing_from_here(tmp_path: Path) -> None:
    with stdin_from(b"mine", tmp_path):
        handover = result(message(1, m.Started(pid=7, new=False)), options=("-i",))
    assert isinstance(handover, Handover)
    assert (handover.stdin, handover.stdin_over) == ([], True)


def test_a_request_that_the_service_does_not_accept_is_not_sent() -> None:
    ours, theirs = socket.socketpair()
    command = plain_command(["web", "x" * 70_000], lambda: None)
    with CollectedSignals() as signals:
        run = DirectRun(Wire(ours), WELCOME, {}, command, signals, UnreadStdin(None), None)
        with pytest.raises(NotDirectError):
            run.request()
        run.close()
    ours.close()
    assert theirs.recv(10) == b""
    theirs.close()
