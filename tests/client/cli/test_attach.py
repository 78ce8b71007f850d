"""`farhand logs` shows the output that is kept, `farhand attach` also sends input; both leave the run running."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from farhand_client import Exited, Killed
from farhand_protocol import messages as m
from tests.support.command import farhand, json_lines, running
from tests.support.fake_listing import info, listing
from tests.support.fake_runs import ID, so_far, ten_and_three
from tests.support.fake_service import FakeRun, FakeService


async def test_logs_writes_stdout_to_stdout_and_stderr_to_stderr(service: FakeService) -> None:
    service.behave = ten_and_three
    done = await farhand("logs", service.host, ID)
    assert (done.code, done.stdout, done.stderr) == (0, b"0123456\xff89", b"err")
    asked = service.runs[-1].attach
    assert asked is not None
    assert (asked.read_only, asked.hold, asked.follow) == (True, False, False)


@pytest.mark.parametrize(
    ("options", "stdout", "stderr"),
    [
        (["--from", "4"], 4, 0),
        (["--from", "2", "--stderr"], None, 2),
        (["--stdout"], 0, None),
        (["--tail", "4"], 6, 0),
        (["--tail", "1K", "--stdout"], 0, None),
        (["-f"], 0, 0),
    ],
)
async def test_logs_begins_at_the_requested_offset(
    service: FakeService, options: list[str], stdout: int | None, stderr: int | None
) -> None:
    service.behave = ten_and_three
    assert (await farhand("logs", *options, service.host, ID)).code == 0
    asked = service.runs[-1].attach
    assert asked is not None
    assert (asked.stdout, asked.stderr, asked.follow) == (stdout, stderr, "-f" in options)


@pytest.mark.parametrize(
    "command", [["attach"], ["attach", "--read-only"], ["logs"], ["replay"], ["export", "--asciicast", "-"]]
)
async def test_the_frames_of_a_transfer_are_not_shown(service: FakeService, command: list[str]) -> None:
    service.answer = listing(info(transfer=True))
    done = await farhand(*command, service.host, ID[:13])
    assert (done.code, done.stdout, service.runs) == (2, b"", [])
    sentence = f"farhand: run {ID} is a transfer of files; its output is for the client that has begun it\n"
    assert done.stderr == sentence.encode()


async def gappy(run: FakeRun) -> None:
    run.started()
    run.send(m.GapNotice(stream="stdout", offset=0, bytes=4))
    run.sent["stdout"] = 4
    await run.write("stdout", b"ab")
    run.send(m.GapNotice(stream="stdout", offset=6, bytes=1))
    run.sent["stdout"] = 7
    await run.write("stdout", b"\xff")
    run.ended()


async def test_gaps_are_reported_exactly_and_are_not_a_failure(service: FakeService) -> None:
    service.behave = gappy
    for command in ("logs", "attach"):
        done = await farhand(command, service.host, ID)
        assert (done.code, done.stdout) == (0, b"ab\xff")
        assert done.stderr.splitlines() == [
            b"farhand: 4 bytes of stdout from offset 0 on are no longer kept",
            b"farhand: 1 bytes of stdout from offset 6 on are no longer kept",
        ]
        done = await farhand(command, "--json", service.host, ID)
        *chunks, last = json_lines(done.stdout)
        assert chunks == [
            {"stream": "stdout", "offset": 0, "gap": 4},
            {"stream": "stdout", "offset": 4, "data": "ab"},
            {"stream": "stdout", "offset": 6, "gap": 1},
            {"stream": "stdout", "offset": 7, "data": {"base64": "/w=="}},
        ]
        assert (last["status"], last["code"], last["run_id"], "new" in last) == ("exited", 0, ID, False)


async def test_logs_of_a_running_run_ends_without_follow(service: FakeService) -> None:
    service.behave = so_far
    done = await farhand("logs", service.host, ID)
    assert (done.code, done.stdout, done.stderr) == (0, b"so far", b"")
    assert json_lines((await farhand("logs", "--json", service.host, ID)).stdout) == [
        {"stream": "stdout", "offset": 0, "data": "so far"}
    ]


@pytest.mark.parametrize("command", ["logs", "attach"])
async def test_a_closed_stdout_does_not_stop_the_run(service: FakeService, command: str) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        while not any(isinstance(message, m.Close) for message in run.messages):
            await run.write("stdout", b"y\n")
            await asyncio.sleep(0)
        run.send(m.Done())

    service.behave = behave
    reading, writing = os.pipe()
    async with running(
        command, "-f" if command == "logs" else "--no-stdin", service.host, ID, stdout=writing
    ) as process:
        os.close(writing)
        assert await asyncio.to_thread(os.read, reading, 2) == b"y\n"
        os.close(reading)
        assert await process.wait() == 141
    assert not any(isinstance(message, m.Stop) for message in service.runs[-1].messages)


async def test_attach_continues_at_the_offset_of_the_runs_stdin(service: FakeService) -> None:
    async def cat(run: FakeRun) -> None:
        run.started()
        await run.until(m.End)
        await run.write("stdout", run.stdin)
        run.ended(Exited(code=5))

    service.behave = cat
    service.answer = listing(info(stdin=7))
    done = await farhand("attach", service.host, ID, input=b"more")
    assert (done.code, done.stdout, done.stderr) == (5, b"more", b"")
    asked = service.runs[-1].attach
    assert asked is not None
    assert (asked.stdin, asked.hold, asked.read_only, asked.stdout, asked.stderr) == (7, True, False, 0, 0)


@pytest.mark.parametrize(
    ("options", "stdin", "read_only"), [([], None, False), (["--no-stdin"], 7, False), (["--read-only"], 7, True)]
)
async def test_attach_sends_no_stdin_when_it_must_not(
    service: FakeService, options: list[str], stdin: int | None, read_only: bool
) -> None:
    service.behave = ten_and_three
    service.answer = listing(info(stdin=stdin))
    done = await farhand("attach", *options, service.host, ID, input=b"not mine")
    unread = b"" if options else b"farhand: this run reads no stdin; yours was not passed on\n"
    assert (done.code, done.stdout, done.stderr) == (3, b"0123456\xff89", unread + b"err")
    asked = service.runs[-1].attach
    assert asked is not None
    assert (asked.stdin, asked.read_only, asked.hold) == (None, read_only, not read_only)


async def test_attach_reports_that_another_client_sends_stdin(service: FakeService) -> None:
    async def behave(run: FakeRun) -> None:
        run.send(m.Started(pid=1, new=False, stdin=False))
        run.has_started = True
        run.client.send(m.Ping(id=1))
        await run.client.reads(1)
        run.ended()

    service.behave = behave
    service.answer = listing(info(stdin=0))
    done = await farhand("attach", service.host, ID, input=b"mine")
    assert (done.code, b"another client sends this run's stdin" in done.stderr) == (0, True)
    assert service.runs[-1].stdin == b""


async def ready(run: FakeRun) -> None:
    run.started()
    await run.write("stdout", b"ready\n")
    await run.until(m.Signal)
    await run.write("stdout", b"caught\n")
    await run.until(m.Close)
    run.send(m.Done())


async def test_the_first_ctrl_c_interrupts_the_run_and_the_second_leaves_it_running(service: FakeService) -> None:
    service.behave = ready
    async with running("attach", service.host, ID) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        assert await process.stdout.readline() == b"caught\n"
        process.send_signal(signal.SIGINT)
        _, stderr = await process.communicate()
        assert (process.returncode, stderr) == (130, f"farhand: abandoned run {ID}; it keeps running\n".encode())
    assert [type(message) for message in service.runs[-1].messages][:1] == [m.Signal]
    assert not any(isinstance(message, m.Stop) for message in service.runs[-1].messages)


@pytest.mark.parametrize(
    ("number", "options", "code"),
    [(signal.SIGTERM, [], 143), (signal.SIGHUP, [], 129), (signal.SIGINT, ["--read-only"], 130)],
)
async def test_a_signal_to_attach_leaves_the_run_running(
    service: FakeService, number: int, options: list[str], code: int
) -> None:
    service.behave = ready
    async with running("attach", *options, service.host, ID) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert await process.wait() == code
    assert not any(isinstance(message, m.Signal | m.Stop) for message in service.runs[-1].messages)


async def test_attach_reports_that_the_service_stopped_the_run(service: FakeService) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        run.ended(Killed(reason="memory", signal=9))

    service.behave = behave
    done = await farhand("attach", service.host, ID)
    assert (done.code, b"memory limit" in done.stderr) == (137, True)
