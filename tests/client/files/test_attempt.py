"""One attempt is one run: it ends with the transfer, and whatever happens, nothing of it is left."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any, cast

import pytest

from farhand_client import ConnectionLost, Lost, RequestRefused, Signaled, SpawnError, SpawnFailed, TimedOut
from farhand_client.files.attempt import AttemptFailed, AttemptLost, Moving, attempt, limit_in_flight, transfer_request
from farhand_client.files.handshake import OptionsRefused
from farhand_client.stdin import InputStream
from farhand_files import wire
from farhand_files.events import Event, Totals
from farhand_files.options import TransferOptions
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.limits import MiB
from farhand_protocol.outcome import Exited, Killed, Outcome
from tests.support.fake_runs import STOPPED
from tests.support.fake_service import Behaviour, FakeRun, refusing
from tests.support.fake_transfer_worker import (
    OPTIONS,
    READY,
    Exchange,
    Exchanges,
    agree,
    echoing,
    received,
    transferring,
)
from tests.support.transferring import collecting


def moving(make: Exchanges, events: list[Event] | None = None) -> Moving:
    return Moving(OPTIONS, make, collecting(events if events is not None else []), lambda: None)


def threads() -> list[str]:
    """Return which threads are left, once those that have returned had the time to exit."""
    left = [thread for thread in threading.enumerate() if thread.name == "farhand transfer"]
    for thread in left:
        thread.join(20)
    return [thread.name for thread in left if thread.is_alive()]


async def attempted(directory: Path, behave: Behaviour, make: Exchanges, **options: Any) -> Totals:
    async with transferring(directory, behave, **options) as (client, _):
        try:
            return await attempt(client._connection, moving(make))  # noqa: SLF001  # as `Client` does
        finally:
            assert threads() == []
            assert client._connection._registered == {}  # noqa: SLF001  # nothing of the run is left


@pytest.mark.parametrize("count", [0, 1, 9 * MiB])
async def test_a_transfer_is_a_run_whose_streams_have_the_frames(tmp_path: Path, count: int) -> None:
    make = Exchanges(count)
    totals = await attempted(tmp_path, echoing(count), make)
    assert totals.bytes == count
    assert make.made[0].options == OPTIONS


async def test_what_is_put_is_sent_before_the_worker_has_answered(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await received(run, wire.TRANSFER_HEADER.size)
        size, _ = wire.check_header(run.stdin[: wire.TRANSFER_HEADER.size])
        await received(run, wire.TRANSFER_HEADER.size + size + 5)
        await run.write("stdout", READY + bytes(5))
        run.ended()

    assert (await attempted(tmp_path, behave, Exchanges(5))).bytes == 5


async def test_the_request_says_what_is_read_or_written(tmp_path: Path) -> None:
    request = transfer_request(TransferOptions("get", (b"a", b"b*")))
    assert request.transfer == m.TransferRequest(access="read", paths=(b"a", b"b*"))
    assert (request.stdin, request.on_disconnect, request.argv) == (True, "kill", None)
    written = transfer_request(OPTIONS).transfer
    assert written == m.TransferRequest(access="write", paths=(b"there",))


class PingedConnection:
    """A connection whose round trip takes some seconds; None: it is lost."""

    def __init__(self, round_trip: float | None) -> None:
        self.round_trip = round_trip

    async def ping(self) -> float:
        """Answer at once."""
        if self.round_trip is None:
            raise ConnectionLost("cut")
        return self.round_trip


@pytest.mark.parametrize(("round_trip", "limit"), [(0.001, wire.CHUNK), (0.1, None), (None, None)])
async def test_only_where_the_service_is_near_one_chunk_is_in_flight(
    round_trip: float | None, limit: int | None
) -> None:
    stdin = InputStream(cast(Any, None))
    await limit_in_flight(cast(Any, PingedConnection(round_trip)), stdin)
    assert stdin.max_in_flight == limit


async def test_both_directions_flow_at_once_without_a_deadlock(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        await agree(run)
        await run.write("stdout", bytes(9 * MiB))
        await received(run, 9 * MiB)
        run.ended()

    class Both(Exchange):
        def exchange(self) -> Totals:
            writing = threading.Thread(target=lambda: self.stream.write(bytes(self.count)))
            writing.start()
            left, buffer = self.count, memoryview(bytearray(MiB))
            while left:
                left -= self.stream.readinto(buffer[:left])
            writing.join()
            return Totals()

    await attempted(tmp_path, behave, Exchanges(9 * MiB, Both))


def ending(outcome: Outcome, *, stderr: bytes = b"") -> Behaviour:
    async def behave(run: FakeRun) -> None:
        await agree(run)
        await received(run, 1)
        await run.write("stderr", stderr)
        run.ended(outcome)

    return behave


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (Lost(), "the service that ran it is gone"),
        (Signaled(signal=9), "was terminated by SIGKILL"),
        (Killed(reason="disconnected", signal=15), "its client was gone"),
        (Killed(reason="draining", signal=15), "the service shut down"),
        (Exited(code=70), "exited with code 70; it wrote: Traceback"),
    ],
)
async def test_a_run_that_is_gone_is_no_end_of_the_transfer(tmp_path: Path, outcome: Outcome, text: str) -> None:
    make = Exchanges(MiB)
    with pytest.raises(AttemptLost, match=text):
        await attempted(tmp_path, ending(outcome, stderr=b"Traceback\n" * 1000), make)
    assert make.made[0].ended.is_set()


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (STOPPED, "was stopped on request"),
        (Killed(reason="memory", signal=9), "memory limit"),
        (TimedOut(timeout=3, signal=15), "after 3 seconds"),
        (Exited(code=0), "exited with code 0"),
    ],
)
async def test_a_run_that_was_ended_on_purpose_is_not_tried_again(tmp_path: Path, outcome: Outcome, text: str) -> None:
    with pytest.raises(AttemptFailed, match=text):
        await attempted(tmp_path, ending(outcome), Exchanges(MiB))


@pytest.mark.parametrize("code", [ErrorCode.UNKNOWN_RUN, ErrorCode.DRAINING, ErrorCode.UNAVAILABLE])
async def test_a_service_that_restarts_is_asked_again(tmp_path: Path, code: ErrorCode) -> None:
    with pytest.raises(AttemptLost, match="not now"):
        await attempted(tmp_path, refusing(code, "not now"), Exchanges(1))


async def test_a_refusal_by_the_policy_is_final(tmp_path: Path) -> None:
    with pytest.raises(RequestRefused, match="ann may not write there") as refused:
        await attempted(tmp_path, refusing(ErrorCode.DENIED, "ann may not write there"), Exchanges(1))
    assert refused.value.code is ErrorCode.DENIED


async def test_a_service_without_transfers_is_named_before_anything_is_sent(tmp_path: Path) -> None:
    make = Exchanges(1)
    with pytest.raises(RequestRefused, match="cannot transfer files: its farhandd is older"):
        await attempted(tmp_path, echoing(1), make, features=())
    assert make.made == []


async def test_a_worker_that_cannot_start_is_a_spawn_error(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.ended(SpawnFailed(errno=11, error="EAGAIN", what="process", message="too many processes"))

    with pytest.raises(SpawnError, match="too many processes"):
        await attempted(tmp_path, behave, Exchanges(1))


async def test_refused_options_are_the_sentence_of_the_worker(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", wire.encode(wire.Problem(0, b"", b"only root can give files away")))
        await run.write("stdout", wire.encode(wire.Summary(b"{}")))
        await run.until(m.Stop)
        run.ended(Exited(code=2))

    with pytest.raises(OptionsRefused, match=r"^only root can give files away$"):
        await attempted(tmp_path, behave, Exchanges(1))


async def test_nonsense_from_the_worker_is_final_and_stops_the_run(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", b"Last login: today\n")
        await run.until(m.Stop)
        run.ended(STOPPED)

    with pytest.raises(AttemptFailed, match="what no transfer allows"):
        await attempted(tmp_path, behave, Exchanges(1))


async def test_an_error_of_our_side_is_raised_as_it_is_and_stops_the_run(tmp_path: Path) -> None:
    stopped = asyncio.Event()

    async def behave(run: FakeRun) -> None:
        await agree(run)
        await run.until(m.Stop)
        stopped.set()
        run.ended(STOPPED)

    class Failing(Exchange):
        def exchange(self) -> Totals:
            raise PermissionError(13, "not yours", "/root/x")

    with pytest.raises(PermissionError, match="not yours"):
        await attempted(tmp_path, behave, Exchanges(1, Failing))
    assert stopped.is_set()


async def test_a_worker_that_does_not_end_is_stopped_and_the_transfer_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farhand_client.files.attempt.TRANSFER_END_TIMEOUT", 0.05)

    async def behave(run: FakeRun) -> None:
        await agree(run)
        await received(run, 5)
        await run.write("stdout", bytes(5))
        await run.until(m.Stop)
        run.ended(STOPPED)

    assert (await attempted(tmp_path, behave, Exchanges(5))).bytes == 5


async def test_a_connection_that_does_not_return_ends_the_attempt(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        await agree(run)
        run.client.cut()

    with pytest.raises(AttemptLost, match="connection"):
        await attempted(tmp_path, behave, Exchanges(MiB))


async def never_started(run: FakeRun) -> None:
    """Do not even start."""


async def silent(run: FakeRun) -> None:
    run.started()


async def agreeing(run: FakeRun) -> None:
    await agree(run)


async def flooding(run: FakeRun) -> None:
    await agree(run)
    await run.write("stdout", bytes(20 * MiB))


@pytest.mark.parametrize("before", [never_started, silent, agreeing, flooding])
@pytest.mark.parametrize("takes", [True, False])
async def test_a_cancellation_at_any_time_stops_both_sides(tmp_path: Path, before: Behaviour, takes: bool) -> None:
    make = Exchanges(32 * MiB)
    stopped = asyncio.Event()

    async def behave(run: FakeRun) -> None:
        doing = asyncio.ensure_future(before(run))
        if before in (agreeing, flooding):
            await asyncio.to_thread(make.began.wait, 20)
        task.cancel()
        await run.until(m.Stop)
        doing.cancel()
        await asyncio.gather(doing, return_exceptions=True)
        stopped.set()
        run.ended(STOPPED)

    async with transferring(tmp_path, behave) as (client, service):
        service.takes_stdin = takes or before is not silent
        task = asyncio.ensure_future(attempt(client._connection, moving(make)))  # noqa: SLF001  # as `Client` does
        with pytest.raises(asyncio.CancelledError):
            await task
        assert stopped.is_set()
        assert threads() == []
        assert all(exchange.cancelled.is_set() for exchange in make.made)
        assert await client.ping() > 0


async def test_closing_the_client_ends_the_attempt(tmp_path: Path) -> None:
    make = Exchanges(32 * MiB)
    async with transferring(tmp_path, agreeing) as (client, _):
        task = asyncio.ensure_future(attempt(client._connection, moving(make)))  # noqa: SLF001  # as `Client` does
        await asyncio.to_thread(make.began.wait, 20)
        await client.close()
        with pytest.raises((AttemptLost, ConnectionLost), match="closed by this client"):
            await task
    assert threads() == []


async def test_without_a_thread_the_run_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = asyncio.Event()

    async def wait_for_the_stop(run: FakeRun) -> None:
        await run.until(m.Stop)
        run.ended(STOPPED)
        stopped.set()

    def no_more(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_more)
        with pytest.raises(OSError, match="no thread can be started"):
            await attempted(tmp_path, wait_for_the_stop, Exchanges(0))
    assert stopped.is_set()
