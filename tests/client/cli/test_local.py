"""`farhand local` runs a command on a private service, and leaves nothing of the service behind."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from farhand_client.cli.local import STOP_TIMEOUT
from tests.support.command import FARHAND, farhand, running
from tests.support.processes import end_of
from tests.support.ptys import Pty
from tests.support.service import environment


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "t").mkdir()
    return environment(tmp_path) | {"TMPDIR": str(tmp_path / "t"), "TERM": "xterm-256color"}


async def test_a_command_runs_and_its_exit_code_is_returned(tmp_path: Path, env: dict[str, str]) -> None:
    done = await farhand("local", "--", "sh", "-c", "echo hello; exit 7", env=env)
    assert (done.code, done.stdout, done.stderr) == (7, b"hello\n", b"")
    assert list((tmp_path / "t").iterdir()) == []


async def test_processes_left_behind_are_named_without_an_option_that_local_does_not_have(env: dict[str, str]) -> None:
    # The name is the program's only once the child has become it.
    line = 'sleep 99 >&- 2>&- & until read -r name </proc/$!/comm && [ "$name" = sleep ]; do :; done'
    done = await farhand("local", "--", "sh", "-c", line, env=env)
    assert (done.code, done.stderr) == (0, b"farhand: 1 process left behind was stopped: sleep\n")


async def test_without_a_command_there_is_a_repl(env: dict[str, str]) -> None:
    done = await farhand("local", input=b"echo hi\nexit 3\n", env=env)
    assert (done.code, done.stdout, done.stderr) == (3, b"hi\n", b"")


async def test_a_signal_stops_the_command_and_the_service(tmp_path: Path, env: dict[str, str]) -> None:
    async with running("local", "sh", "-c", "echo ready; exec sleep 60", env=env) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 143
    assert list((tmp_path / "t").iterdir()) == []


LEAVING = {
    "end of input": b"\x04",
    "exit": b"exit\r",
    "SIGTERM": signal.SIGTERM,
    "SIGHUP": signal.SIGHUP,
}


@pytest.mark.parametrize("leave", LEAVING.values(), ids=LEAVING)
async def test_jobs_end_with_the_service_of_the_repl_at_once_and_are_named(
    tmp_path: Path, env: dict[str, str], pty: Pty, leave: bytes | int
) -> None:
    async with pty.running(*FARHAND, "local", env=env) as process:
        await pty.shows(b"local")
        pty.type(b"echo job-$$ & sleep 1000 &\r")
        await pty.shows(b"] started")
        await pty.shows(b"~")
        began = asyncio.get_running_loop().time()
        if isinstance(leave, bytes):
            pty.type(leave)
        else:
            process.send_signal(leave)
        await pty.shows(
            b"stopping what still runs, since this service was only for this REPL: echo job-$$ & sleep 1000"
        )
        assert await process.wait() in (0, 143, 129)
        assert asyncio.get_running_loop().time() - began < STOP_TIMEOUT, "it waited for the job"
    assert list((tmp_path / "t").iterdir()) == []


async def test_a_program_of_the_repl_can_be_left_and_ends_with_it(env: dict[str, str], pty: Pty) -> None:
    async with pty.running(*FARHAND, "local", env=env) as process:
        await pty.shows(b"local")
        pty.type(b"echo up; sleep 1000\r")
        await pty.shows(b"up\r\n")
        pty.type(b"\r~d")
        await pty.shows(b"still running; :attach")
        await pty.shows(b"~")
        pty.type(b"quit\r")
        await pty.shows(b"stopping what still runs, since this service was only for this REPL: echo up; sleep 1000")
        assert await process.wait() == 0


async def test_a_closed_window_leaves_nothing_running(tmp_path: Path, env: dict[str, str], pty: Pty) -> None:
    async with pty.running(*FARHAND, "local", env=env) as process:
        await pty.shows(b"local")
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        pty.type(b"sh -c 'echo $$ >%s; exec sleep 1000' &\r" % bytes(fifo))
        job = int(await asyncio.to_thread(fifo.read_text))
        pty.hang_up()
        await process.wait()
    await end_of(job)
    assert list((tmp_path / "t").iterdir()) == []


async def test_nothing_is_left_if_it_is_killed(tmp_path: Path, env: dict[str, str]) -> None:
    async with running("local", "sh", "-c", "echo $$; exec sleep 1000", env=env) as process:
        assert process.stdout is not None
        pid = int(await process.stdout.readline())
        (directory,) = (tmp_path / "t").iterdir()
        process.kill()
    await end_of(pid)
    async with asyncio.timeout(30):
        while directory.exists():  # noqa: ASYNC110  # the cleaner is nobody's child
            await asyncio.sleep(0.01)


async def test_an_unknown_option_is_refused_with_a_hint(env: dict[str, str]) -> None:
    done = await farhand("local", "-x", env=env)
    assert (done.code, b"unknown option -x; put -- before a command that begins with -" in done.stderr) == (2, True)


async def test_a_path_too_long_for_a_socket_is_reported(tmp_path: Path, env: dict[str, str]) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    done = await farhand("local", "true", env=env | {"TMPDIR": str(long)})
    assert (done.code, b"is too long for a socket (unix(7)); set TMPDIR" in done.stderr) == (255, True)
    assert list(long.iterdir()) == []
