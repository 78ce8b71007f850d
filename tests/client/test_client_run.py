"""`Client.run`: a command's output and outcome, or an error that says what is known."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from farhand_client import (
    DEVNULL,
    PIPE,
    CommandError,
    CommandTimeout,
    Completed,
    ConnectionLost,
    Exited,
    Killed,
    Lost,
    OutputIncomplete,
    RequestRefused,
    Signaled,
    SpawnError,
    SpawnFailed,
    TimedOut,
)
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.limits import KiB, Limits, MiB
from tests.support.fake_service import Behaviour, FakeRun, client_of, refusing


def printing(out: bytes = b"", err: bytes = b"", outcome: Any = None) -> Behaviour:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", out)
        await run.write("stderr", err)
        run.ended(outcome)

    return behave


async def echo(run: FakeRun) -> None:
    """As cat(1)."""
    run.started()
    await run.until(m.End)
    await run.write("stdout", run.stdin)
    run.ended()


async def run(directory: Path, behave: Behaviour, *args: Any, **options: Any) -> Completed:
    async with client_of(directory, behave) as (client, _):
        return await client.run(*args or (["true"],), **options)


async def test_output_and_outcome_come_back(tmp_path: Path) -> None:
    completed = await run(tmp_path, printing(b"out\xff", b"err", Exited(code=3)))
    assert (completed.args, completed.returncode, completed.stdout, completed.stderr) == (
        ["true"],
        3,
        b"out\xff",
        b"err",
    )
    assert completed.outcome == Exited(code=3)
    assert completed.duration == 0.25
    assert completed.truncated is False
    assert isinstance(completed, subprocess.CompletedProcess)


@pytest.mark.parametrize(
    ("outcome", "returncode"),
    [
        (Exited(code=0), 0),
        (Exited(code=255), 255),
        (Signaled(signal=9), -9),
        (Signaled(signal=40), -40),
        (Killed(reason="draining", signal=15), -15),
        (Killed(reason="requested", code=5), 5),
        (Killed(reason="requested", code=0), -15),  # never 0 for a run that was stopped
    ],
)
async def test_return_codes_are_those_of_subprocess(tmp_path: Path, outcome: Any, returncode: int) -> None:
    assert (await run(tmp_path, printing(outcome=outcome))).returncode == returncode


async def test_the_request_says_what_was_asked_for(tmp_path: Path) -> None:
    async with client_of(tmp_path) as (client, service):
        await client.run(
            ["prog", b"\xff\xfe", Path("a b"), "\udc80", ""],
            cwd=Path("work"),
            env={"A": "1", "B": "\udcff"},
            timeout=9,
            kill_after=0,
            merge_stderr=True,
        )
        await client.run("echo $HOME", shell=True)
        await client.run("a program with spaces")
    first, second, third = (run.request for run in service.runs)
    assert first.argv == (b"prog", b"\xff\xfe", b"a b", b"\x80", b"")
    assert (first.cwd, first.env, first.timeout, first.kill_after) == (
        b"work",
        ((b"A", b"1"), (b"B", b"\xff")),
        9,
        0,
    )
    assert (first.merge_stderr, first.stdin, first.shell) == (True, False, None)
    assert (second.shell, second.argv, second.timeout, second.kill_after) == (b"echo $HOME", None, None, 5)
    assert third.argv == (b"a program with spaces",)
    assert len({first.id, second.id, third.id}) == 3


@pytest.mark.parametrize(
    ("args", "options", "error", "sentence"),
    [
        ([], {}, ValueError, "args is empty"),
        (["a", "b\0"], {}, ValueError, r"args\[1\] has a NUL byte"),
        (["a", 1], {}, TypeError, r"args\[1\] is int; str, bytes or a path is needed"),
        (["a"], {"shell": True}, TypeError, "args is the script: one str or bytes"),
        (["a"], {"cwd": "x\0"}, ValueError, "cwd has a NUL byte"),
        (["a"], {"env": {"A=B": "c"}}, ValueError, "env: 'A=B' cannot name a variable"),
        (["a"], {"env": {"": "c"}}, ValueError, "cannot name a variable"),
        (["a"], {"env": {"A": "\0"}}, ValueError, r"env\['A'\] has a NUL byte"),
        (["a"], {"timeout": 0}, ValueError, "timeout is 0; more than 0 to"),
        (["a"], {"timeout": float("inf")}, ValueError, "timeout is inf"),
        (["a"], {"timeout": float("nan")}, ValueError, "timeout is nan"),
        (["a"], {"kill_after": -1}, ValueError, "kill_after is -1"),
        (["a"], {"input": b"", "stdin": DEVNULL}, ValueError, "input and stdin cannot both be given"),
        (["a"], {"input": "text"}, TypeError, "input is str: give bytes, or ask for text"),
        (["a"], {"stdin": PIPE}, ValueError, "use start, or input"),
        (["x" * 5 * MiB], {}, ValueError, "the command cannot be sent: a run of 5[0-9]* bytes; the peer takes"),
    ],
)
async def test_what_no_service_would_take_is_refused_here(
    tmp_path: Path, args: Any, options: Any, error: type[Exception], sentence: str
) -> None:
    async with client_of(tmp_path) as (client, service):
        with pytest.raises(error, match=sentence):
            await client.run(args, **options)
        assert service.runs == []
        assert (await client.run(["true"])).returncode == 0


# check, timeouts, errors


async def test_check_raises_for_any_end_but_exit_code_0(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"the command \['true'\] exited with code 3") as caught:
        await run(tmp_path, printing(b"o", b"e", Exited(code=3)), check=True)
    assert isinstance(caught.value, subprocess.CalledProcessError)
    assert (caught.value.returncode, caught.value.stdout, caught.value.stderr) == (3, b"o", b"e")
    assert caught.value.outcome == Exited(code=3)


@pytest.mark.parametrize("outcome", [Signaled(signal=9), Killed(reason="draining", code=0)])
async def test_check_is_not_fooled_by_a_stopped_run(tmp_path: Path, outcome: Any) -> None:
    with pytest.raises(CommandError):
        await run(tmp_path, printing(outcome=outcome), check=True)


async def test_a_timeout_keeps_the_output_so_far(tmp_path: Path) -> None:
    behave = printing(b"half", b"why", TimedOut(timeout=2.0, signal=9))
    with pytest.raises(CommandTimeout, match="was stopped after 2 seconds") as caught:
        await run(tmp_path, behave, timeout=2)
    assert isinstance(caught.value, subprocess.TimeoutExpired)
    assert (caught.value.stdout, caught.value.stderr, caught.value.timeout) == (b"half", b"why", 2.0)


async def test_a_program_that_did_not_start_is_an_error_with_its_errno(tmp_path: Path) -> None:
    outcome = SpawnFailed(errno=2, error="ENOENT", what="program", message="there is no nope")

    async def behave(run: FakeRun) -> None:
        run.ended(outcome)

    with pytest.raises(SpawnError, match="there is no nope") as caught:
        await run(tmp_path, behave)
    assert (caught.value.errno, caught.value.outcome) == (2, outcome)


async def test_a_refusal_has_its_code_and_others_go_on(tmp_path: Path) -> None:
    async with client_of(tmp_path, refusing(ErrorCode.DENIED, "not for you")) as (client, service):
        with pytest.raises(RequestRefused, match="not for you") as caught:
            await client.run(["rm"])
        assert caught.value.code is ErrorCode.DENIED
        assert caught.value.run_id == service.runs[0].request.id
        assert await client.ping() > 0


async def test_a_service_that_dies_in_the_middle_is_never_success(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", b"half of it")
        run.client.cut()

    async with client_of(tmp_path, behave) as (client, service):
        with pytest.raises(ConnectionLost, match=r"may have run.*repeat it only if that does no harm") as caught:
            await client.run(["true"])
        assert caught.value.run_id == service.runs[0].request.id
        assert caught.value.may_have_run
        with pytest.raises(ConnectionLost) as again:
            await client.run(["true"])
        assert not again.value.may_have_run


async def test_an_end_of_all_streams_without_an_outcome_is_a_loss(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        run.say(m.End(stream="stdout"))
        run.say(m.End(stream="stderr"))
        assert run.client.link is not None
        run.client.link.close()

    with pytest.raises(ConnectionLost, match="its end is not known"):
        await run(tmp_path, behave)


async def test_a_run_whose_end_nobody_saw_is_a_loss(tmp_path: Path) -> None:
    with pytest.raises(ConnectionLost, match="the service that ran it is gone"):
        await run(tmp_path, printing(outcome=Lost()))


async def test_output_that_did_not_arrive_is_said(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", b"12345")
        run.sent["stdout"] = 9
        run.ended()

    with pytest.raises(OutputIncomplete, match="exited with code 0, but only 5 of 9 bytes of stdout arrived") as caught:
        await run(tmp_path, behave)
    assert caught.value.outcome == Exited(code=0)


@pytest.mark.parametrize(
    ("scribble", "sentence"),
    [
        (b"\xff\xff\xff\x03\0\0\0\1", "a frame announces 16777215 bytes"),
        (b"\0\0\x01\x09\0\0\0\1x", "frames of kind 9 are not known"),
        (b"\0\0\x02\x01\0\0\0\0{}", "no type that is known"),
        (b"\0\0\x01\x03\0\0\0\x07x", "channel 7 was never opened"),
    ],
)
async def test_a_service_that_breaks_the_protocol_is_left(tmp_path: Path, scribble: bytes, sentence: str) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        run.client.scribble(scribble)

    with pytest.raises(ConnectionLost, match=f"broke the protocol: .*{sentence}"):
        await run(tmp_path, behave)


async def test_the_last_word_of_the_service_is_passed_on(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.client.say(m.Error(code=ErrorCode.INTERNAL, message="out of everything"))
        assert run.client.link is not None
        run.client.link.close()

    with pytest.raises(ConnectionLost, match="ended the connection: out of everything"):
        await run(tmp_path, behave)


# Output


@pytest.mark.parametrize(("encoding", "data", "text"), [(None, b"\xc3\xa4\r\n", "ä\r\n"), ("latin-1", b"\xe4", "ä")])
async def test_text_is_decoded_and_newlines_stay(tmp_path: Path, encoding: Any, data: bytes, text: str) -> None:
    completed = await run(tmp_path, printing(data, data), text=True, encoding=encoding)
    assert (completed.stdout, completed.stderr) == (text, text)


async def test_what_is_not_text_is_not_made_into_some(tmp_path: Path) -> None:
    with pytest.raises(UnicodeDecodeError):
        await run(tmp_path, printing(b"\xff"), text=True)


async def test_text_that_was_cut_in_a_character_is_still_text(tmp_path: Path) -> None:
    completed = await run(tmp_path, printing("aä".encode()), text=True, max_output=2)
    assert (completed.stdout, completed.truncated) == ("a", True)


async def test_merged_output_has_no_stderr(tmp_path: Path) -> None:
    assert (await run(tmp_path, printing(b"both"), merge_stderr=True)).stderr is None


async def test_output_beyond_64_mib_is_thrown_away_and_said(tmp_path: Path) -> None:
    piece = bytes(MiB)

    async def behave(run: FakeRun) -> None:
        run.started()
        for _ in range(66):
            await run.write("stdout", piece)
        run.ended()

    completed = await run(tmp_path, behave)
    assert (len(completed.stdout), completed.truncated, completed.returncode) == (64 * MiB, True, 0)


@pytest.mark.parametrize(("limit", "kept", "truncated"), [(0, b"", True), (4, b"1234", True), (5, b"12345", False)])
async def test_max_output_counts_each_stream(tmp_path: Path, limit: int, kept: bytes, truncated: bool) -> None:
    completed = await run(tmp_path, printing(b"12345", b"12345"), max_output=limit)
    assert (completed.stdout, completed.stderr, completed.truncated) == (kept, kept, truncated)


# stdin


@pytest.mark.parametrize("size", [0, 1, 64 * KiB, 9 * MiB + 1])
async def test_input_arrives_whole_and_then_ends(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    assert (await run(tmp_path, echo, input=data)).stdout == data


async def test_text_input_is_encoded(tmp_path: Path) -> None:
    assert (await run(tmp_path, echo, input="ä", text=True)).stdout == "ä"


async def test_stdin_can_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"x" * MiB)
    with (tmp_path / "data").open("rb") as file:
        assert (await run(tmp_path, echo, stdin=file)).stdout == b"x" * MiB


async def test_stdin_can_be_in_memory(tmp_path: Path) -> None:
    assert (await run(tmp_path, echo, stdin=io.BytesIO(b"here"))).stdout == b"here"


async def test_stdin_can_be_a_pipe(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"piped")
    os.close(writing)
    try:
        assert (await run(tmp_path, echo, stdin=reading)).stdout == b"piped"
    finally:
        os.close(reading)


async def test_stdin_can_be_made_as_it_goes(tmp_path: Path) -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"one"
        await asyncio.sleep(0)
        yield b"two"

    assert (await run(tmp_path, echo, stdin=source())).stdout == b"onetwo"


async def test_a_run_need_not_wait_for_the_end_of_its_stdin(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        assert (await run(tmp_path, printing(b"done"), stdin=reading)).stdout == b"done"
    finally:
        os.close(reading)
        os.close(writing)


async def test_a_run_that_takes_no_input_can_end(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        run.ended(Exited(code=1))

    async with client_of(tmp_path, behave, takes_stdin=False) as (client, _):
        assert (await client.run(["true"], input=bytes(20 * MiB))).returncode == 1


async def test_a_source_that_fails_stops_the_run(tmp_path: Path) -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"one"
        raise OSError("the disk is gone")

    async def behave(run: FakeRun) -> None:
        run.started()
        await run.until(m.Stop)
        run.ended(Killed(reason="requested", signal=15))

    async with client_of(tmp_path, behave) as (client, service):
        with pytest.raises(OSError, match="the disk is gone"):
            await client.run(["cat"], stdin=source())
        assert m.Stop() in service.runs[0].messages


async def test_no_more_is_sent_than_there_is_credit_for(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        while len(run.stdin) < 64 * KiB:
            run.changed.clear()
            await run.changed.wait()
        await client.ping()  # more would have come before the answer
        assert len(run.stdin) == 64 * KiB
        run.ended()

    async with client_of(tmp_path, behave, limits=Limits(window=64 * KiB), takes_stdin=False) as (client, _):
        await client.run(["cat"], input=bytes(MiB))


# Many at once, and cancellation


async def test_many_runs_share_a_connection(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        assert run.request.argv is not None
        run.started()
        await run.write("stdout", run.request.argv[1] * 20_000)
        run.ended()

    async with client_of(tmp_path, behave) as (client, service):
        all_of_them = await asyncio.gather(*(client.run(["echo", f"{n:03}"]) for n in range(200)))
        assert [one.stdout for one in all_of_them] == [f"{n:03}".encode() * 20_000 for n in range(200)]
        assert len(service.connections) == 1


async def test_a_service_that_takes_no_more_runs_is_said(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        await run.until(m.Stop)
        run.ended(Killed(reason="requested", signal=15))

    async with client_of(tmp_path, behave, limits=Limits(channels=1)) as (client, _), asyncio.TaskGroup() as group:
        task = group.create_task(client.run(["sleep", "9"]))
        await asyncio.sleep(0)
        with pytest.raises(RequestRefused, match="1 channels are open") as caught:
            await client.run(["true"])
        assert caught.value.code is ErrorCode.TOO_MANY_CHANNELS
        task.cancel()


STOPPED = Killed(reason="requested", signal=signal.SIGTERM)


async def silent(run: FakeRun) -> None:
    """Not started yet."""


async def quiet(run: FakeRun) -> None:
    run.started()


async def chatting(run: FakeRun) -> None:
    run.started()
    await run.write("stdout", b"so far")


async def flooding(run: FakeRun) -> None:
    run.started()
    await run.write("stdout", bytes(20 * MiB))


@pytest.mark.parametrize("before", [silent, quiet, chatting, flooding])
@pytest.mark.parametrize("options", [{}, {"input": bytes(20 * MiB)}, {"stdin": "pipe"}])
async def test_cancelling_stops_the_run_and_waits_for_its_end(tmp_path: Path, before: Behaviour, options: Any) -> None:
    reading, writing = os.pipe()
    stopped = False

    async def behave(run: FakeRun) -> None:
        nonlocal stopped
        task.cancel()
        begun = asyncio.ensure_future(before(run))
        await run.until(m.Stop)
        await begun
        stopped = True
        run.ended(STOPPED)

    async with client_of(tmp_path, behave, takes_stdin=False) as (client, _):
        if "stdin" in options:
            options = {"stdin": reading}
        task = asyncio.ensure_future(client.run(["x"], **options))
        with pytest.raises(asyncio.CancelledError):
            await task
        assert stopped
        assert await client.ping() > 0
    os.close(reading)
    os.close(writing)


async def test_a_second_cancellation_gives_up_the_waiting_not_the_stopping(tmp_path: Path) -> None:
    closed = asyncio.Event()

    async def behave(run: FakeRun) -> None:
        run.started()
        task.cancel()
        await run.until(m.Stop)
        task.cancel()
        await run.until(m.Close)
        closed.set()

    async with client_of(tmp_path, behave) as (client, _):
        task = asyncio.ensure_future(client.run(["x"]))
        with pytest.raises(asyncio.CancelledError):
            await task
        await closed.wait()


async def test_losing_the_connection_while_stopping_is_no_other_error(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        task.cancel()
        await run.until(m.Stop)
        run.client.cut()

    async with client_of(tmp_path, behave) as (client, _):
        task = asyncio.ensure_future(client.run(["x"]))
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_an_asyncio_timeout_works_as_everywhere(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.until(m.Stop)
        run.ended(STOPPED)

    async with client_of(tmp_path, behave) as (client, _):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.run(["x"])
