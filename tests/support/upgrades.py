"""Upgrading a running service, and services whose program can be replaced while they run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from . import warm
from .command import Finished
from .processes import children, command_line, end_of
from .service import Service, running_service
from .warm import FARHANDD

TIMEOUT = 60.0
"""Timeout, in seconds, for an upgrade: three starts of Python on a busy machine."""

WRITER = """\
import hashlib, os, pathlib, sys, time
directory, number = pathlib.Path(sys.argv[1]), int(sys.argv[2])
(directory / f"begun-{number}").touch()
sha256, count = hashlib.sha256(), 0
while not (directory / "enough").exists():
    block = b"%d of %d\\n" % (count, number) * 300
    count += 1
    sha256.update(block)
    os.write(1, block)
    time.sleep(0.005)
(directory / f"written-{number}").write_text(f"{os.getpid()} {sha256.hexdigest()}\\n")
sys.exit(number)
"""
"""Writes until DIRECTORY/enough exists, then records its pid and the hash of its output; exits with NUMBER."""

_PROGRAM = """\
import sys
del sys.argv[1:4]  # the arguments of the usual command line
{change}
from farhand_server.cli import main
sys.exit(main())
"""


async def upgrade(service: Service) -> Finished:
    """Run `farhandd upgrade` and wait for its exit."""
    process = await warm.start(
        *FARHANDD,
        "upgrade",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=service.environment,
    )
    async with asyncio.timeout(TIMEOUT):
        stdout, stderr = await process.communicate()
    assert process.returncode is not None
    return Finished(process.returncode, stdout, stderr)


async def upgraded(service: Service) -> None:
    """Upgrade the service; a refusal fails the test."""
    done = await upgrade(service)
    assert done.code == 0, f"{done.stderr.decode()}\n{service.log}"


def edge_of(service: Service) -> int:
    """Return the pid of the core's edge; the youngest one while another is exiting."""
    return _edges_of(service)[-1]


async def kill_edge(service: Service) -> None:
    """Kill the core's edge, and return once there is another."""
    killed = edge_of(service)
    os.kill(killed, signal.SIGKILL)
    await end_of(killed)
    async with asyncio.timeout(TIMEOUT):
        while not _edges_of(service):  # noqa: ASYNC110  # a child of another process has no event
            await asyncio.sleep(0.01)


def _edges_of(service: Service) -> list[int]:
    return sorted(pid for pid in children(service.process.pid) if b"\0edge\0" in command_line(pid))


def workers_of(service: Service) -> list[int]:
    """Return the pids of the edge's workers."""
    return children(edge_of(service))


@dataclass
class Exchangeable:
    """A service whose program is a file that a test can replace; the next upgrade executes it."""

    service: Service
    program: Path
    python: Path

    def exchange(self, change: str) -> None:
        """Install a program that first executes these statements."""
        self.program.write_text(_PROGRAM.format(change=change))


@contextlib.asynccontextmanager
async def exchangeable(directory: Path) -> AsyncIterator[Exchangeable]:
    """Run a service with its own program file and its own link to Python."""
    program, python = directory / "program.py", directory / "venv/bin/python"
    program.write_text(_PROGRAM.format(change=""))
    # Python finds its virtual environment by these files; outside of one the links are harmless.
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (directory / "venv/lib").symlink_to(Path(sys.prefix, "lib"))
    (directory / "venv/pyvenv.cfg").symlink_to(Path(sys.prefix, "pyvenv.cfg"))
    prefix = (str(python), str(program))
    async with running_service(directory, prefix=prefix) as service:
        yield Exchangeable(service, program, python)
