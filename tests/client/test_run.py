"""`Client.start` and `Run`: streams both ways, signals, and an end whatever happens."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from farhand_client import PIPE, Client, ConnectionLost, Exited, Killed, RequestRefused, Run, SpawnError, SpawnFailed
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.limits import KiB, MiB
from tests.support.fake_service import FakeRun, client_of, refusing

STOPPED = Killed(reason="requested", signal=signal.SIGTERM)


async def stoppable(run: FakeRun) -> None:
    run.started()
    await run.until(m.Stop)
    run.ended(STOPPED)


async def printing(run: FakeRun) -> None:
    run.started()
    await run.write("stdout", b"one\ntw")
    await run.write("stderr", b"err")
    await run.write("stdout", b"o\n\nlast")
    run.ended(Exited(code=2))


async def test_a_run_has_its_id_and_pid_from_the_start(tmp_path: Path) -> None:
    async with client_of(tmp_path, stoppable) as (client, service):
        async with client.start(["prog"]) as run:
            assert (run.id, run.pid) == (service.runs[0].request.id, 4711)
            assert (run.stdin, run.result, run.outcome, run.returncode) == (None, None, None, None)
        assert (run.outcome, run.returncode) == (STOPPED, -signal.SIGTERM)


async def test_start_can_be_awaited(tmp_path: Path) -> None:
    async with client_of(tmp_path, printing) as (client, _):
        run = await client.start(["prog"])
        assert await run.stdout.read() == b"one\ntwo\n\nlast"
        assert (await run.wait()).returncode == 2


async def test_start_can_be_a_task(tmp_path: Path) -> None:
    async with client_of(tmp_path, printing) as (client, _):
        run = await asyncio.create_task(client.start(["prog"]))
        assert (await run.wait()).outcome == Exited(code=2)


async def test_the_result_has_the_totals(tmp_path: Path) -> None:
    async with client_of(tmp_path, printing) as (client, _), client.start(["prog"]) as run:
        result = await run.wait()
        assert (result.stdout, result.stderr, result.duration, result.lingered) == (13, 3, 0.25, False)
        assert result == run.result


# Output


async def test_streams_give_chunks_until_their_end(tmp_path: Path) -> None:
    async with client_of(tmp_path, printing) as (client, _), client.start(["prog"]) as run:
        assert b"".join([chunk async for chunk in run.stdout]) == b"one\ntwo\n\nlast"
        assert run.stderr is not None
        assert await run.stderr.read() == b"err"
        assert await run.stderr.read() == await run.stderr.read(5) == b""


async def test_lines_keep_their_newline(tmp_path: Path) -> None:
    async with client_of(tmp_path, printing) as (client, _), client.start(["prog"]) as run:
        assert [line async for line in run.stdout.lines()] == [b"one\n", b"two\n", b"\n", b"last"]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 100])
@pytest.mark.parametrize("chunk", [1, 3, 1000])
async def test_long_lines_come_in_pieces(tmp_path: Path, limit: int, chunk: int) -> None:
    text = b"a\nbcdefg\r\n\n" + b"x" * 50 + b"\ny"

    async def behave(run: FakeRun) -> None:
        run.started()
        for at in range(0, len(text), chunk):
            await run.write("stdout", text[at : at + chunk])
        run.ended()

    async with client_of(tmp_path, behave) as (client, _), client.start(["prog"]) as run:
        pieces = [piece async for piece in run.stdout.lines(limit)]
    lines = [b"a\n", b"bcdefg\r\n", b"\n", b"x" * 50 + b"\n", b"y"]
    expected = [line[at : at + limit] for line in lines for at in range(0, len(line), limit)]
    assert pieces == expected


async def test_reading_some_takes_no_more(tmp_path: Path) -> None:
    async with client_of(tmp_path, printing) as (client, _), client.start(["prog"]) as run:
        assert await run.stdout.read(2) == b"on"
        assert await run.stdout.read(0) == b""
        assert await run.stdout.read() == b"e\ntwo\n\nlast"


async def test_a_reader_that_stops_holds_up_the_writer_and_nobody_else(tmp_path: Path) -> None:
    async def flood(run: FakeRun) -> None:
        run.started()
        if run.request.argv == (b"flood",):
            await run.write("stdout", bytes(20 * MiB))
        run.ended()

    async with client_of(tmp_path, flood) as (client, service), client.start(["flood"]) as run:
        await run.stdout.read(1)
        assert (await client.run(["true"])).returncode == 0
        while service.runs[0].sent["stdout"] < 4 * MiB:
            await client.ping()
        await client.ping()  # more would have come before the answer
        assert service.runs[0].sent["stdout"] == 4 * MiB
        assert len(await run.stdout.read()) == 20 * MiB - 1
        assert (await run.wait()).returncode == 0


async def test_discarded_output_does_not_hold_up_the_program(tmp_path: Path) -> None:
    async def flood(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", bytes(20 * MiB))
        run.ended()

    async with client_of(tmp_path, flood) as (client, _), client.start(["flood"]) as run:
        await run.stdout.read(1)
        run.stdout.discard()
        assert (await run.wait()).returncode == 0
        assert await run.stdout.read() == b""


async def test_a_stream_has_one_reader(tmp_path: Path) -> None:
    async with client_of(tmp_path, stoppable) as (client, _), client.start(["prog"]) as run:
        first = asyncio.ensure_future(run.stdout.read())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="already has a reader"):
            await run.stdout.read()
        first.cancel()


async def test_a_reader_that_was_cancelled_loses_nothing(tmp_path: Path) -> None:
    go = asyncio.Event()

    async def behave(run: FakeRun) -> None:
        run.started()
        await go.wait()
        await run.write("stdout", b"all of it")
        run.ended()

    async with client_of(tmp_path, behave) as (client, _), client.start(["prog"]) as run:
        reader = asyncio.ensure_future(run.stdout.read(100))
        await asyncio.sleep(0)
        reader.cancel()
        go.set()
        assert await run.stdout.read() == b"all of it"


async def test_a_lost_connection_gives_what_came_and_then_says_so(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", b"half")
        await asyncio.sleep(0)
        assert run.client.link is not None
        run.client.link.close()

    async with client_of(tmp_path, behave) as (client, _), client.start(["prog"]) as run:
        assert await run.stdout.read(100) == b"half"
        with pytest.raises(ConnectionLost):
            await run.stdout.read()
        assert run.stderr is not None
        with pytest.raises(ConnectionLost):
            async for _ in run.stderr.lines():
                pass
        with pytest.raises(ConnectionLost) as caught:
            await run.wait()
        assert caught.value.run_id == run.id
        assert run.outcome is None


# stdin


async def cat(run: FakeRun) -> None:
    run.started()
    await run.until(m.End)
    await run.write("stdout", run.stdin)
    run.ended()


async def test_stdin_is_written_drained_and_closed(tmp_path: Path) -> None:
    async with client_of(tmp_path, cat) as (client, _), client.start(["cat"], stdin=PIPE) as run:
        assert run.stdin is not None
        for piece in (b"one ", bytearray(b"two "), memoryview(b"three"), b""):
            run.stdin.write(piece)
        await run.stdin.drain()
        run.stdin.close()
        run.stdin.close()
        assert run.stdin.is_closing()
        assert await run.stdout.read() == b"one two three"
        with pytest.raises(ValueError, match="closed"):
            run.stdin.write(b"more")


async def test_drain_waits_for_a_slow_program(tmp_path: Path) -> None:
    async with (
        client_of(tmp_path, stoppable, takes_stdin=False) as (client, service),
        client.start(["cat"], stdin=PIPE) as run,
    ):
        assert run.stdin is not None
        run.stdin.write(bytes(9 * MiB))
        draining = asyncio.ensure_future(run.stdin.drain())
        while len(service.runs[0].stdin) < 4 * MiB:
            await client.ping()
        assert not draining.done()
        service.runs[0].client.connection.take(1, "stdin", 4 * MiB)
        service.runs[0].client.flush()
        while len(service.runs[0].stdin) < 8 * MiB:
            await client.ping()
        assert not draining.done()
        service.runs[0].client.connection.take(1, "stdin", 4 * MiB)
        service.runs[0].client.flush()
        await draining


async def test_writing_to_a_run_that_is_over_is_a_broken_pipe(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.changed.wait()
        run.ended()

    async with (
        client_of(tmp_path, behave, takes_stdin=False) as (client, _),
        client.start(["true"], stdin=PIPE) as run,
    ):
        assert run.stdin is not None
        run.stdin.write(bytes(9 * MiB))
        with pytest.raises(BrokenPipeError, match="the run is over"):
            await run.stdin.drain()
        with pytest.raises(BrokenPipeError):
            run.stdin.write(b"x")


async def test_writing_over_a_lost_connection_says_so(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.changed.wait()
        run.client.cut()

    async with (
        client_of(tmp_path, behave, takes_stdin=False) as (client, _),
        client.start(["cat"], stdin=PIPE) as run,
    ):
        assert run.stdin is not None
        run.stdin.write(bytes(9 * MiB))
        with pytest.raises(ConnectionLost):
            await run.stdin.drain()


@pytest.mark.parametrize("data", ["text", 5, None])
async def test_stdin_takes_bytes(tmp_path: Path, data: Any) -> None:
    async with client_of(tmp_path, stoppable) as (client, _), client.start(["cat"], stdin=PIPE) as run:
        assert run.stdin is not None
        with pytest.raises(TypeError, match="stdin takes bytes"):
            run.stdin.write(data)


# Signals and the end


async def test_signals_go_to_the_run(tmp_path: Path) -> None:
    async with client_of(tmp_path, stoppable) as (client, service):
        async with client.start(["prog"]) as run:
            run.send_signal(signal.SIGHUP)
            run.terminate()
            run.kill()
            with pytest.raises(ValueError, match="65 is not a signal"):
                run.send_signal(65)
        run.kill()
    signals = [message.number for message in service.runs[0].messages if isinstance(message, m.Signal)]
    assert signals == [signal.SIGHUP, signal.SIGTERM, signal.SIGKILL]


async def test_stop_has_a_grace_of_its_own(tmp_path: Path) -> None:
    async with client_of(tmp_path, stoppable) as (client, service), client.start(["prog"]) as run:
        await run.stop(kill_after=0)
        assert run.outcome == STOPPED
        assert service.runs[0].messages[0] == m.Stop(kill_after=0)


async def test_abandoning_waits_for_nothing(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.until(m.Close)

    async with client_of(tmp_path, behave) as (client, _), client.start(["prog"]) as run:
        run.abandon()
        with pytest.raises(ConnectionLost, match="the service stops it"):
            await run.wait()
        assert await client.ping() > 0


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
async def test_an_error_in_the_context_stops_the_run(tmp_path: Path, error: type[BaseException]) -> None:
    async with client_of(tmp_path, stoppable) as (client, service):
        with pytest.raises(error):
            async with client.start(["prog"]):
                raise error
        assert m.Stop() in service.runs[0].messages


async def waiting(run: Run) -> None:
    await run.wait()


async def reading(run: Run) -> None:
    await run.stdout.read()


async def lining(run: Run) -> None:
    async for _ in run.stdout.lines():
        pass


async def draining(run: Run) -> None:
    assert run.stdin is not None
    run.stdin.write(bytes(9 * MiB))
    await run.stdin.drain()


@pytest.mark.parametrize("await_something", [waiting, reading, lining, draining])
async def test_cancelled_anywhere_a_run_is_stopped_and_its_end_waited_for(tmp_path: Path, await_something: Any) -> None:
    async def script(client: Client) -> None:
        async with client.start(["prog"], stdin=PIPE) as run:
            inside.set()
            await await_something(run)

    inside = asyncio.Event()
    async with client_of(tmp_path, stoppable, takes_stdin=False) as (client, service):
        task = asyncio.ensure_future(script(client))
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert m.Stop() in service.runs[0].messages
        assert service.tasks[0].done()


async def test_cancelled_before_its_start_a_run_is_stopped(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        task.cancel()
        await run.until(m.Stop)
        run.ended(STOPPED)

    async with client_of(tmp_path, behave) as (client, service):
        task = asyncio.ensure_future(client.start(["prog"]))
        with pytest.raises(asyncio.CancelledError):
            await task
        await service.tasks[0]


async def test_a_run_that_does_not_start_leaves_nothing(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.ended(SpawnFailed(errno=13, error="EACCES", what="program", message="no"))

    async with client_of(tmp_path, behave) as (client, service):
        with pytest.raises(SpawnError):
            await client.start(["prog"])
        assert await client.ping() > 0
        assert service.connections[0].connection.channels == 0


async def test_a_refused_start_leaves_nothing(tmp_path: Path) -> None:
    async with client_of(tmp_path, refusing(ErrorCode.DENIED, "no")) as (client, service):
        with pytest.raises(RequestRefused):
            await client.start(["prog"])
        assert await client.ping() > 0
        assert service.connections[0].connection.channels == 0


async def test_start_knows_no_other_stdin(tmp_path: Path) -> None:
    async with client_of(tmp_path) as (client, _):
        with pytest.raises(ValueError, match="start takes stdin=PIPE"):
            client.start(["cat"], stdin=7)


async def test_closing_the_client_ends_its_runs(tmp_path: Path) -> None:
    async with client_of(tmp_path, stoppable) as (client, service):
        run = await client.start(["prog"])
        await client.close()
        with pytest.raises(ConnectionLost, match="closed here"):
            await run.wait()
        await service.connections[0].over.wait()
        await client.close()
        with pytest.raises(ConnectionLost):
            await client.ping()


async def test_small_output_is_given_as_it_comes(tmp_path: Path) -> None:
    """An interactive program's words do not wait for a buffer to fill."""

    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", b"name? ")
        await run.until(m.End)
        run.ended()

    async with client_of(tmp_path, behave) as (client, _), client.start(["prog"], stdin=PIPE) as run:
        assert await run.stdout.read(64 * KiB) == b"name? "
        assert run.stdin is not None
        run.stdin.close()
        await run.wait()
