"""Programs on a terminal whose master side the test holds."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
from collections.abc import Iterator

from farhand_server.runs.plan import TerminalPlan, TerminalSize
from farhand_server.runs.process.launch import launch
from farhand_server.runs.process.usage import ResourceLimits
from farhand_server.runs.streams.pty import PseudoTerminal
from tests.support.processes import children, wait_for_end

TIMEOUT = 10.0

RAW = (("ICANON", 0), ("ECHO", 0), ("ISIG", 0), ("ICRNL", 0), ("IXON", 0), ("OPOST", 0), ("IUTF8", 0))


def opened(*modes: tuple[str, int], size: TerminalSize = TerminalSize(80, 24)) -> PseudoTerminal:  # noqa: B008  # a tuple
    """Open a terminal without a program; the program's side is `terminal.slave`."""
    return PseudoTerminal.open(TerminalPlan("vt100", *size, modes), size, None)


class OnTerminal:
    """A program on a terminal whose output the test reads."""

    def __init__(self, terminal: PseudoTerminal, process: subprocess.Popen[bytes]) -> None:
        self.terminal = terminal
        self.process = process
        self.output = b""

    async def says(self, pattern: bytes) -> re.Match[bytes]:
        """Read until a regular expression matches; output behind the match is kept for the next call."""
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self.terminal.master, readable.set)
        try:
            async with asyncio.timeout(TIMEOUT):
                while (found := re.search(pattern, self.output)) is None:
                    await readable.wait()
                    readable.clear()
                    with contextlib.suppress(BlockingIOError):
                        self.output += os.read(self.terminal.master, 1 << 16)
        finally:
            loop.remove_reader(self.terminal.master)
        self.output = self.output[found.end() :]
        return found

    async def ended(self) -> int:
        """Wait for the program's end; return its exit code, or minus the number of the signal that ended it."""
        async with asyncio.timeout(TIMEOUT):
            return await asyncio.to_thread(self.process.wait)


@contextlib.contextmanager
def on_terminal(*argv: str, terminal: PseudoTerminal | None = None) -> Iterator[OnTerminal]:
    """Start a program on a terminal as the service does; kill it at the end."""
    terminal = terminal or opened()
    command = launch(
        [os.fsencode(argument) for argument in argv],
        env=dict(os.environb),
        credentials=None,
        limits=ResourceLimits(),
        cgroup=None,
        terminal=True,
    )
    slave = terminal.slave
    others = set(children(os.getpid()))
    with subprocess.Popen(
        command.argv, env=command.env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    ) as process:
        try:
            yield OnTerminal(terminal, process)
        finally:
            terminal.close()
            process.kill()
    for hung_up in set(children(os.getpid())) - others:  # which this process may have adopted
        wait_for_end(hung_up)
