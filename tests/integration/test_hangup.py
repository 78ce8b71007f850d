"""A service in the foreground ends with its terminal, and one that was told to outlive it reloads on SIGHUP."""

from __future__ import annotations

import asyncio
import re
import shlex
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.client import TIMEOUT
from tests.support.processes import end_of
from tests.support.ptys import Pty, children, terminal
from tests.support.service import Service, environment
from tests.support.upgrades import upgraded
from tests.support.warm import FARHAND, FARHANDD

SERVE = shlex.join([*FARHANDD, "serve"])


@pytest.fixture
async def pty(tmp_path: Path) -> AsyncIterator[Pty]:
    (tmp_path / "run").mkdir(mode=0o700)
    (tmp_path / "log").touch()
    async with terminal(columns=1000) as made:
        yield made


async def logged(directory: Path, pattern: str) -> re.Match[str]:
    """Wait for a line of the log. A growing file has no event, so it is polled."""
    async with asyncio.timeout(TIMEOUT):
        while (found := re.search(pattern, (directory / "log").read_text())) is None:  # noqa: ASYNC110  # as said
            await asyncio.sleep(0.002)
    return found


async def test_a_service_in_the_foreground_ends_with_its_terminal_also_after_an_upgrade(
    pty: Pty, tmp_path: Path
) -> None:
    async with pty.running(*FARHANDD, "serve", env=environment(tmp_path)) as process:
        await pty.shows(b"farhandd: ready on")
        process.send_signal(signal.SIGHUP)
        await pty.shows(b"msg=reloaded")
        socket = tmp_path / "run/farhand/farhandd.sock"
        await upgraded(Service(process, tmp_path, socket, None))
        pty.hang_up()
        assert await asyncio.wait_for(process.wait(), TIMEOUT) == 0
        assert not socket.exists()


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        pytest.param("sh", "{}; true", id="sh, foreground"),
        pytest.param("bash --norc --noprofile -i", "{}; true", id="bash, foreground"),
        pytest.param("bash --norc --noprofile -i", "{} & read -r x", id="bash, background"),
    ],
)
async def test_a_service_ends_with_the_terminal_of_the_shell_that_started_it(
    pty: Pty, tmp_path: Path, shell: str, line: str
) -> None:
    script = line.format(f"{SERVE} >>{tmp_path}/log 2>&1")
    async with pty.running(*shell.split(), "-c", script, env=environment(tmp_path)) as process:
        await logged(tmp_path, "farhandd: ready on")
        (pid,) = children(process.pid)
        pty.hang_up()
        await end_of(pid)
    assert "terminal was closed; stopping" in (tmp_path / "log").read_text()


async def test_a_service_under_nohup_outlives_its_terminal(pty: Pty, tmp_path: Path) -> None:
    script = f"exec nohup {SERVE} >>{tmp_path}/log 2>&1"
    async with pty.running("sh", "-c", script, env=environment(tmp_path)) as process:
        await logged(tmp_path, "farhandd: ready on")
        pty.hang_up()
        await logged(tmp_path, "msg=reloaded")
        assert (tmp_path / "run/farhand/farhandd.sock").exists()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), TIMEOUT) == 0


async def test_a_private_service_ends_with_the_terminal_of_its_client(pty: Pty, tmp_path: Path) -> None:
    env = environment(tmp_path) | {"TMPDIR": str(tmp_path), "TERM": "xterm"}
    async with pty.running(*FARHAND, "local", env=env) as process:
        await pty.sees(b"local")
        started = children(process.pid)
        pty.hang_up()
        await asyncio.wait_for(process.wait(), TIMEOUT)
        for pid in started:
            await end_of(pid)
    assert not list(tmp_path.glob("farhand-*"))
