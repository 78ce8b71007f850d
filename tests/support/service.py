"""A real farhandd for a test: a process with its own directories that is always stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support import warm

START = 60.0
"""Timeout, in seconds, for starting and stopping; a cold start takes one second."""


@dataclass
class Service:
    """A running farhandd; all of its files are below `directory`."""

    process: asyncio.subprocess.Process
    directory: Path
    socket: Path
    address: tuple[str, int] | None

    @property
    def host(self) -> str:
        """The HOST argument for the local socket."""
        return f"unix:{self.socket}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which client and service keep all files below the test's directory."""
        return environment(self.directory)

    @property
    def log(self) -> str:
        """Everything that the service has logged (its stderr)."""
        return (self.directory / "log").read_text()

    async def logged(self, pattern: str, count: int = 1) -> None:
        """Wait for `count` lines of the log that match. A growing file has no event, so it is polled."""
        async with asyncio.timeout(START):
            while len(re.findall(pattern, self.log)) < count:  # noqa: ASYNC110  # as said
                await asyncio.sleep(0.002)

    async def stop(self) -> int:
        """Stop the service with SIGTERM; return its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), START)


def environment(directory: Path) -> dict[str, str]:
    """Return the environment with all of Farhand's files below `directory`, no agent, and no startup files of shells,
    which are those of the account that runs the tests."""
    kept = {name: value for name, value in os.environ.items() if name != "SSH_AUTH_SOCK"}
    return kept | {
        "XDG_CONFIG_HOME": str(directory / "config"),
        "XDG_STATE_HOME": str(directory / "state"),
        "XDG_RUNTIME_DIR": str(directory / "run"),
        "FARHAND_REPL_NORC": "1",
        "FARHAND_SSH_CONFIG": "none",
        # A helper for each test would cost half a second. With FARHAND_MUX=auto the tests have one.
        "FARHAND_MUX": os.environ.get("FARHAND_MUX", "auto" if os.environ.get("FARHAND_TESTS_FRONT") else "off"),
    }


@contextlib.asynccontextmanager
async def running_service(
    directory: Path,
    *arguments: str,
    listen: bool = False,
    config: str | None = None,
    prefix: Sequence[str] = (),
) -> AsyncIterator[Service]:
    """Run `farhandd serve` with its files below `directory`; with `listen` also on a free TLS port of loopback.

    `prefix` is a command that executes the command given as its arguments.
    """
    (directory / "run").mkdir(mode=0o700, exist_ok=True)
    farhand = directory / "config" / "farhand"
    farhand.mkdir(parents=True, exist_ok=True)
    if config is not None:
        (farhand / "farhandd.toml").write_text(config)
    if listen:
        arguments = (*arguments, "--listen", "127.0.0.1:0")
    with (directory / "log").open("ab") as log:
        process = await warm.start(
            *prefix,
            sys.executable,
            "-m",
            "farhand_server",
            "serve",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env=environment(directory),
        )
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), START)).decode()
        if not line.startswith("farhandd: ready"):
            raise AssertionError(f"farhandd did not start: {(directory / 'log').read_text()}")
        yield Service(process, directory, directory / "run/farhand/farhandd.sock", _address(line))
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), START)
            except TimeoutError:
                process.kill()
                await process.wait()
        # asyncio closes the pipe's transport only after end of file has been read.
        assert process.stdout is not None
        await process.stdout.read()


def _address(line: str) -> tuple[str, int] | None:
    for word in line.split():
        host, colon, port = word.rstrip(",").rpartition(":")
        if colon and port.isdigit():
            return host.strip("[]"), int(port)
    return None
