"""`farhand run` against a service that does anything: streams, signals, exit codes, and the truth in the end."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from farhand_client import Exited, Killed, Signaled, SpawnFailed, TimedOut
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.limits import KiB, MiB
from tests.support.command import farhand, running
from tests.support.fake_runs import Gate
from tests.support.fake_service import FakeRun, FakeService, refusing, succeed

STOPPED = Killed(reason="requested", signal=signal.SIGTERM)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[FakeService]:
    async with FakeService().on_socket(tmp_path) as fake:
        yield fake


async def cat(run: FakeRun) -> None:
    run.started()
    if run.request.stdin:
        await run.until(m.End)
    await run.write("stdout", run.stdin)
    run.ended()


async def sleep(run: FakeRun) -> None:
    """Until it is stopped."""
    run.started()
    await run.write("stdout", b"ready\n")
    await run.until(m.Stop)
    run.ended(STOPPED)


# What is asked for


async def test_arguments_arrive_as_they_are(service: FakeService) -> None:
    arguments = [b"printf", b"", b"a b", b"$HOME", b"*", b"it's", b"new\nline", b"-n", b"--", b"\xff\xfe"]
    done = await farhand("run", service.host, "--", *arguments)
    assert (done.code, done.stdout, done.stderr) == (0, b"", b"")
    assert service.runs[0].request.argv == tuple(arguments)
    assert service.runs[0].request.stdin is False


async def test_options_become_the_request(service: FakeService) -> None:
    line = ["--cwd", "dir", "-e", "A=1=2", "-e", "LOCAL", "-e", "UNSET", "--timeout", "2.5", "--kill-after", "0"]
    env = {**os.environ, "LOCAL": "\udcff"}
    env.pop("UNSET", None)
    done = await farhand("run", *line, "--merge", "--shell", service.host, "echo $HOME", env=env)
    assert done.code == 0
    request = service.runs[0].request
    assert (request.shell, request.argv, request.cwd) == (b"echo $HOME", None, b"dir")
    assert request.env == ((b"A", b"1=2"), (b"LOCAL", b"\xff"))
    assert (request.timeout, request.kill_after, request.merge_stderr) == (2.5, 0, True)


# Streams


async def test_output_comes_through_byte_for_byte(service: FakeService) -> None:
    data = os.urandom(3 * MiB)

    async def behave(run: FakeRun) -> None:
        run.started()
        await asyncio.gather(run.write("stdout", data), run.write("stderr", data[::-1]))
        run.ended(Exited(code=7))

    service.behave = behave
    done = await farhand("run", service.host, "prog")
    assert done.code == 7
    assert done.stdout == data
    assert done.stderr == data[::-1]


async def test_output_into_a_file(service: FakeService, tmp_path: Path) -> None:
    data = os.urandom(3 * MiB)

    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", data)
        run.ended()

    service.behave = behave
    with (tmp_path / "out").open("wb") as out:
        assert (await farhand("run", service.host, "prog", stdout=out)).code == 0
    assert (tmp_path / "out").read_bytes() == data


async def test_stdin_is_passed_on_only_when_asked(service: FakeService) -> None:
    service.behave = cat
    data = os.urandom(2 * MiB)
    assert (await farhand("run", "-i", service.host, "cat", input=data)).stdout == data
    assert (await farhand("run", service.host, "cat", input=b"not mine")).stdout == b""


async def test_stdin_from_a_file(service: FakeService, tmp_path: Path) -> None:
    service.behave = cat
    (tmp_path / "in").write_bytes(bytes(range(256)) * KiB)
    with (tmp_path / "in").open("rb") as file:
        done = await farhand("run", "-i", service.host, "cat", stdin=file)
    assert done.stdout == bytes(range(256)) * KiB


async def test_a_command_that_ends_does_not_wait_for_stdin(service: FakeService) -> None:
    async with running("run", "-i", service.host, "true", stdin=subprocess.PIPE) as process:
        assert await process.wait() == 0


async def test_stdin_that_cannot_be_read_stops_the_run(service: FakeService, tmp_path: Path) -> None:
    service.behave = sleep
    with (tmp_path / "not for reading").open("wb") as file:
        done = await farhand("run", "-i", service.host, "cat", stdin=file)
    assert done.code == 255
    assert b"cannot read stdin: Bad file descriptor" in done.stderr
    assert m.Stop() in service.runs[0].messages


async def test_when_nobody_reads_stdout_the_run_is_stopped(service: FakeService) -> None:
    async def yes(run: FakeRun) -> None:
        run.started()
        await asyncio.wait(
            [asyncio.ensure_future(run.write("stdout", b"y\n" * 10 * MiB)), asyncio.ensure_future(run.until(m.Stop))],
        )
        run.ended(STOPPED)

    service.behave = yes
    reading, writing = os.pipe()
    async with running("run", service.host, "yes", stdout=writing) as process:
        os.close(writing)
        assert await asyncio.to_thread(os.read, reading, 2) == b"y\n"
        os.close(reading)
        _, stderr = await process.communicate()
        assert (process.returncode, stderr) == (141, b"")


async def test_a_full_disk_is_ours(service: FakeService) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", b"x" * 100)
        await run.until(m.Stop)
        run.ended(STOPPED)

    service.behave = behave
    with Path("/dev/full").open("wb") as full:
        done = await farhand("run", service.host, "prog", stdout=full)
    assert (done.code, done.stderr) == (255, b"farhand: cannot write to stdout: No space left on device\n")


CLOSED = """
import os
os.closerange(0, 3)
from farhand_client.cli import main
main(["nope"])
os._exit(7 if all(os.readlink(f"/proc/self/fd/{fd}") == "/dev/null" for fd in range(3)) else 1)
"""


def test_closed_standard_files_do_not_become_the_connection() -> None:
    assert subprocess.run([sys.executable, "-c", CLOSED], timeout=30, check=False).returncode == 7


# Signals


async def test_ctrl_c_interrupts_the_command_and_its_end_counts(service: FakeService) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", b"ready\n")
        assert await run.until(m.Signal) == m.Signal(number=signal.SIGINT)
        await run.write("stdout", b"cleaning up\n")
        run.ended(Exited(code=9))

    service.behave = behave
    async with running("run", service.host, "prog") as process:
        assert process.stdout is not None
        await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        stdout, stderr = await process.communicate()
        assert (process.returncode, stdout, stderr) == (9, b"cleaning up\n", b"")


async def test_a_second_ctrl_c_abandons_the_run_and_says_which(service: FakeService, tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", b"ready\n")
        await run.until(m.Signal)
        process.send_signal(signal.SIGINT)
        await run.until(m.Close)

    service.behave = behave
    async with running("run", "--status-json", str(tmp_path / "s"), service.host, "prog") as process:
        assert process.stdout is not None
        await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, stderr = await process.communicate()
    run_id = service.runs[0].request.id
    assert (process.returncode, stderr) == (130, f"farhand: abandoned run {run_id}; the service stops it\n".encode())
    status = json.loads((tmp_path / "s").read_text())
    assert (status["status"], status["run_id"], status["may_have_run"]) == ("failed", run_id, True)


async def test_ctrl_c_works_while_nobody_takes_the_output(service: FakeService) -> None:
    async def flood(run: FakeRun) -> None:
        run.started()
        writing = asyncio.ensure_future(run.write("stdout", bytes(20 * MiB)))
        await run.until(m.Signal)
        process.send_signal(signal.SIGINT)
        await run.until(m.Close)
        writing.cancel()

    service.behave = flood
    reading, writing = os.pipe()
    async with running("run", service.host, "flood", stdout=writing) as process:
        os.close(writing)
        assert await asyncio.to_thread(os.read, reading, 1) == b"\0"
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
    os.close(reading)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_an_order_to_end_stops_the_run_first(service: FakeService, tmp_path: Path, number: int) -> None:
    service.behave = sleep
    async with running("run", "--status-json", str(tmp_path / "s"), service.host, "sleep") as process:
        assert process.stdout is not None
        await process.stdout.readline()
        process.send_signal(number)
        assert await process.wait() == 128 + number
    assert m.Stop() in service.runs[0].messages
    status = json.loads((tmp_path / "s").read_text())
    assert (status["status"], status["reason"], status["signal"]) == ("killed", "requested", 15)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_before_the_run_a_signal_just_ends(service: FakeService, number: int, code: int) -> None:
    came = asyncio.Event()
    service.greet = lambda *_: came.set()
    async with running("run", service.host, "prog") as process:
        await came.wait()
        process.send_signal(number)
        _, stderr = await process.communicate()
        assert (process.returncode, stderr) == (code, b"")
    assert service.runs == []


# How it ends


@pytest.mark.parametrize(
    ("outcome", "code", "said"),
    [
        (Exited(code=255), 255, b""),
        (Signaled(signal=9), 137, b""),
        (TimedOut(timeout=1.0, signal=15), 124, b"farhand: the command was stopped after 1 seconds\n"),
        (
            Killed(reason="draining", signal=15),
            143,
            b"farhand: the command was stopped because the service shuts down\n",
        ),
        (
            SpawnFailed(errno=2, error="ENOENT", what="program", message="there is no prog"),
            127,
            b"farhand: there is no prog\n",
        ),
    ],
)
async def test_every_end_has_its_code_and_its_status(
    service: FakeService, tmp_path: Path, outcome: Any, code: int, said: bytes
) -> None:
    async def behave(run: FakeRun) -> None:
        if not isinstance(outcome, SpawnFailed):
            run.started()
        run.ended(outcome)

    service.behave = behave
    done = await farhand("run", "--status-json", str(tmp_path / "s"), service.host, "prog")
    assert (done.code, done.stdout, done.stderr) == (code, b"", said)
    status = json.loads((tmp_path / "s").read_text())
    assert status | outcome.model_dump(exclude_none=True) == status
    assert status["run_id"] == service.runs[0].request.id


async def die(run: FakeRun) -> None:
    run.started()
    await run.write("stdout", b"half")
    assert run.client.link is not None
    run.client.link.close()


@pytest.mark.parametrize(
    ("behave", "kind", "may_have_run", "stdout"),
    [
        (die, "ConnectionLost", True, b"half"),
        (refusing(ErrorCode.DENIED, "not for you"), "RequestRefused", True, b""),
    ],
)
async def test_what_is_ours_is_255_and_the_status_tells_it_from_the_commands(
    service: FakeService, behave: Any, kind: str, may_have_run: bool, stdout: bytes
) -> None:
    service.behave = behave
    done = await farhand("run", "--reconnect", "0", "--status-json", "-", service.host, "prog")
    assert (done.code, done.stdout) == (255, stdout)
    said, line = done.stderr.splitlines()
    assert said.startswith(b"farhand: ")
    status = json.loads(line)
    assert (status["status"], status["error"]["type"], status["may_have_run"]) == ("failed", kind, may_have_run)


@pytest.mark.parametrize(
    ("line", "code", "sentence"),
    [
        (["run", "unix:/nowhere/s", "ls"], 255, b"there is no socket at /nowhere/s"),
        (["run", "a:b:c", "ls"], 2, b"in brackets"),
        (["run", "--status-json", "/nowhere/s", "unix:/nowhere/s", "ls"], 255, b"the status cannot be written"),
        (["run"], 2, b"HOST is missing"),
        (["nope"], 2, b"there is no command 'nope'"),
        ([], 2, b"a command is needed"),
        (["ping", "unix:/nowhere/s"], 255, b"there is no socket"),
        (["trust", "unix:/nowhere/s"], 2, b"has no key; the kernel vouches for it"),
        (["local", "-x"], 2, b"there is no option -x"),
    ],
)
async def test_mistakes_get_a_sentence_and_no_traceback(line: list[str], code: int, sentence: bytes) -> None:
    done = await farhand(*line)
    assert (done.code, done.stdout) == (code, b"")
    assert sentence in done.stderr
    assert b"Traceback" not in done.stderr


async def test_help_and_version_are_for_stdout() -> None:
    assert (await farhand("--version")).stdout.startswith(b"farhand 0.")
    for line in (["--help"], ["run", "--help"], ["ping", "--help"], ["trust", "--help"], ["local", "--help"]):
        done = await farhand(*line)
        assert (done.code, done.stderr) == (0, b"")
        assert b"usage: farhand" in done.stdout


async def test_ping_says_who_answers(service: FakeService) -> None:
    done = await farhand("ping", "-c", "2", service.host)
    assert done.code == 0
    first, second, *times, summary = done.stdout.decode().splitlines()
    assert first == f"{service.host}: ann on fake"
    assert second == "fake/1, protocol 1, features: none"
    assert [line.split()[:2] for line in times] == [["round", "trip"]] * 2
    assert summary.startswith("least ")


async def test_all_that_came_is_written_before_a_loss_is_said(service: FakeService) -> None:
    data = os.urandom(2 * MiB)

    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", data)
        assert run.client.link is not None
        run.client.link.close()

    service.behave = behave
    done = await farhand("run", "--reconnect", "0", service.host, "prog")
    assert (done.code, len(done.stdout)) == (255, len(data))


async def test_a_terminal_is_written_to(service: FakeService) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", b"to the terminal")
        run.ended()

    service.behave = behave
    ours, theirs = pty.openpty()
    try:
        assert (await farhand("run", service.host, "prog", stdout=theirs)).code == 0
        assert os.read(ours, 100) == b"to the terminal"
    finally:
        os.close(ours)
        os.close(theirs)


async def test_success_is_quiet(service: FakeService) -> None:
    service.behave = succeed
    done = await farhand("run", service.host, "true")
    assert (done.code, done.stdout, done.stderr) == (0, b"", b"")


# Runs that outlive their connection


async def test_the_request_says_what_becomes_of_the_run(service: FakeService) -> None:
    line = ["--id", ID, "--on-disconnect", "keep", "--grace", "5", "--idle-timeout", "7", "--buffer", "spool=1M"]
    limits = ["--limit", "memory=512M,cpu=1.5,processes=50", "--limit", "files=100,file-size=1G,output=10k"]
    assert (await farhand("run", *line, *limits, service.host, "prog")).code == 0
    request = service.runs[0].request
    assert (request.id, request.on_disconnect, request.grace, request.idle_timeout) == (ID, "keep", 5, 7)
    assert request.spool == MiB
    assert request.bounds == m.Bounds(
        memory=512 * MiB, cpu=1.5, processes=50, files=100, file_size=1024 * MiB, output=10 * KiB
    )


ID = "01890a5d-ac96-774b-bcce-b302099a8057"


async def test_detached_it_prints_the_id_and_leaves_the_run(service: FakeService, tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.until(m.Close)

    service.behave = behave
    done = await farhand("run", "--detach", "--status-json", str(tmp_path / "s"), service.host, "prog")
    request = service.runs[0].request
    assert (done.code, done.stdout, done.stderr) == (0, f"{request.id}\n".encode(), b"")
    assert (request.on_disconnect, request.spool) == ("keep", 64 * MiB)
    assert [type(one) for one in service.runs[0].messages] == [m.Close]
    status = json.loads((tmp_path / "s").read_text())
    assert status == {"status": "detached", "run_id": request.id, "pid": 4711, "new": True}
    await farhand("run", "--detach", "--buffer", "block", service.host, "prog")
    assert service.runs[1].request.spool is None


async def test_an_id_that_is_there_already_gives_its_output_from_the_beginning(
    service: FakeService, tmp_path: Path
) -> None:
    async def behave(run: FakeRun) -> None:
        run.started(new=False)
        await run.write("stdout", b"from the beginning")
        run.ended()

    service.behave = behave
    done = await farhand("run", "--id", ID, "--status-json", str(tmp_path / "s"), service.host, "prog")
    assert (done.code, done.stdout) == (0, b"from the beginning")
    assert json.loads((tmp_path / "s").read_text())["new"] is False


async def test_a_cut_is_not_even_said(service: FakeService) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.rest("stdout", b"one" if run.attach is None else b"one two")
        if run.attach is None:
            assert run.client.link is not None
            run.client.link.close()
        else:
            run.ended(Exited(code=6))

    service.behave = behave
    done = await farhand("run", service.host, "prog")
    assert (done.code, done.stdout, done.stderr) == (6, b"one two", b"")


async def test_a_line_that_stays_down_is_said_and_ctrl_c_waits_for_it(service: FakeService) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        if run.attach is None:
            await run.write("stdout", b"ready\n")
        else:
            assert await run.until(m.Signal) == m.Signal(number=signal.SIGINT)
            run.ended(Exited(code=9))

    service.behave = behave
    gate = Gate(service)
    async with running("run", "--reconnect", "60", service.host, "prog") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        await process.stdout.readline()
        await gate.shut()
        down = await process.stderr.readline()
        assert re.fullmatch(rf"farhand: the line to {service.host} is down; trying again for 5[78] s\n", down.decode())
        process.send_signal(signal.SIGINT)
        queued = b"farhand: the line is down; the command is interrupted once it is up. Again to leave now\n"
        assert await process.stderr.readline() == queued
        gate.open()
        assert await process.stderr.readline() == f"farhand: the line to {service.host} is up again\n".encode()
        assert await process.wait() == 9


async def test_a_second_ctrl_c_leaves_while_the_line_is_down(service: FakeService) -> None:
    service.behave = sleep
    gate = Gate(service)
    async with running("run", service.host, "prog") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        await process.stdout.readline()
        await gate.shut()
        process.send_signal(signal.SIGINT)
        await process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert (await process.stderr.readline()).startswith(b"farhand: abandoned run ")
        assert await process.wait() == 130


async def test_output_that_is_no_longer_kept_is_said_in_its_place_and_no_success(
    service: FakeService, tmp_path: Path
) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        run.say(m.Gap(stream="stdout", offset=0, bytes=7))
        run.sent["stdout"] = 7
        await run.write("stdout", b"the rest")
        run.ended()

    service.behave = behave
    done = await farhand("run", "--status-json", str(tmp_path / "s"), service.host, "prog")
    assert (done.code, done.stdout) == (255, b"the rest")
    first, second = done.stderr.decode().splitlines()
    assert first == "farhand: 7 bytes of stdout from offset 0 on are no longer kept"
    assert second.endswith("exited with code 0, but 7 bytes of its output are missing")
    error = json.loads((tmp_path / "s").read_text())["error"]
    assert (error["type"], error["outcome"]) == ("OutputIncomplete", {"status": "exited", "code": 0})
