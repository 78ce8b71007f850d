"""Our ends of what a program has as stdin, stdout and stderr: pipes, or one terminal."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable
from typing import Final, Protocol

from ..attachments.terminal import SharedTerminalSize
from ..output.spool import Spool
from ..plan import Plan
from ..process.process import LaunchError, Process
from .pipe_input import PipeInput
from .pty import PseudoTerminal
from .readers import PipeReader, TerminalReader
from .terminal_input import TerminalInput

HANGUP_RETRY_DELAY: Final = 0.5
"""Seconds until a leader on a terminal is hung up on once more. A shell that has just shown its prompt and does not
wait for a key yet may miss the first time (bash 5.2); a line that is cut would give it the end of its input as well."""


class ProgramStreams(Protocol):
    """What a run's program reads from and writes to. Opened once, before the start; closed however that ends."""

    def open(self, theirs: contextlib.ExitStack) -> tuple[int, int, int]:
        """Return the program's three descriptors, which may be closed with `theirs`. Raises `LaunchError`."""

    def begin(self) -> None:
        """The program runs: read what it writes. Not before, since nothing that it did may be told before its start."""

    def begin_stop(self, process: Process, *, disconnected: bool) -> None:
        """Ask all of the run's processes to end; `disconnected` is whether that is because its clients are gone."""

    def leader_ended(self) -> bool:
        """The program has ended. Return whether others may go on writing for a while."""

    def drain(self) -> bool:
        """Read what there is now, beyond the spool's limit if need be; True where the end has come."""

    def close(self) -> None:
        """Neither read nor write any more."""


class PipeStreams:
    """`ProgramStreams` of a program without a terminal; without stdin it reads an empty file."""

    def __init__(self, plan: Plan, stdin: PipeInput, stdout: Spool, stderr: Spool, ended: Callable[[], None]) -> None:
        self.readers: Final[list[PipeReader]] = []
        self._stdin = stdin if plan.stdin else None
        self._merged = stderr if plan.merge_stderr else None
        self._spools = (stdout,) if plan.merge_stderr else (stdout, stderr)
        self._ended = ended
        self._unread: list[tuple[int, Spool]] = []

    def open(self, theirs: contextlib.ExitStack) -> tuple[int, int, int]:
        """Streams."""
        given = []
        try:
            if self._stdin is None:
                given.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
                theirs.callback(os.close, given[0])
            else:
                reading, writing = os.pipe2(os.O_CLOEXEC)
                given.append(reading)
                theirs.callback(os.close, reading)
                self._stdin.pipe.connect(writing)
            for spool in self._spools:
                reading, writing = os.pipe2(os.O_CLOEXEC)
                given.append(writing)
                theirs.callback(os.close, writing)
                self._unread.append((reading, spool))
        except OSError as error:
            raise _cannot("make pipes", error) from None
        if self._merged is not None:
            self._merged.finish()
        return given[0], given[1], given[-1]

    def begin(self) -> None:
        """Streams."""
        while self._unread:
            self.resume(*self._unread.pop(0))

    def resume(self, fd: int, spool: Spool) -> None:
        """Read from a pipe that another program has opened."""
        self.readers.append(PipeReader(fd, spool, self._ended))

    def begin_stop(self, process: Process, *, disconnected: bool) -> None:
        """Streams."""
        process.terminate_tree()

    def leader_ended(self) -> bool:
        """Streams."""
        return True

    def drain(self) -> bool:
        """Streams."""
        # A reader held up by a slow client may only seem not to have come to its end.
        drained = [reader.drain() for reader in self.readers]
        return all(drained)

    def close(self) -> None:
        """Streams."""
        if self._stdin is not None:
            self._stdin.pipe.close()
        while self._unread:
            os.close(self._unread.pop()[0])
        for reader in self.readers:
            reader.close()


class TerminalStreams:
    """`ProgramStreams` of a program on a terminal."""

    def __init__(
        self, plan: Plan, keyboard: TerminalInput, screen: SharedTerminalSize, stdout: Spool, ended: Callable[[], None]
    ) -> None:
        self.terminal: PseudoTerminal | None = None
        self._plan = plan
        self._keyboard = keyboard
        self._screen = screen
        self._stdout = stdout
        self._ended = ended
        self._reader: TerminalReader | None = None
        self._again: asyncio.TimerHandle | None = None

    def open(self, theirs: contextlib.ExitStack) -> tuple[int, int, int]:
        """Streams."""
        assert self._plan.terminal is not None
        self._screen.apply()
        try:
            terminal = PseudoTerminal.open(self._plan.terminal, self._screen.size, self._plan.credentials)
        except OSError as error:
            raise _cannot("open a terminal", error) from None
        self.terminal = terminal
        self._screen.connect(terminal)
        return terminal.slave, terminal.slave, terminal.slave

    def begin(self) -> None:
        """Streams."""
        assert self.terminal is not None
        self._reader = TerminalReader(self.terminal.master, self._stdout, self._ended)
        self._keyboard.connect(self.terminal)

    def resume(self, terminal: PseudoTerminal) -> None:
        """Go on with a terminal that another program has opened."""
        self.terminal = terminal
        self._screen.connect(terminal)
        self.begin()

    def begin_stop(self, process: Process, *, disconnected: bool) -> None:
        """Streams."""
        assert self.terminal is not None
        if disconnected:
            process.hang_up(self.terminal.foreground())
        else:
            process.terminate_tree(hang_up=True)
        self._again = asyncio.get_running_loop().call_later(HANGUP_RETRY_DELAY, process.hang_up, None)

    def leader_ended(self) -> bool:
        """Streams. With the leader of its session the terminal goes from all others."""
        assert self.terminal is not None
        self._cancel_again()
        self._keyboard.close()
        self.terminal.release()
        return False

    def drain(self) -> bool:
        """Streams."""
        return self._reader is None or self._reader.drain()

    def close(self) -> None:
        """Streams."""
        self._cancel_again()
        self._keyboard.close()
        self._screen.disconnect()
        if self._reader is not None:
            self._reader.close()
        if self.terminal is not None:
            self.terminal.close()

    def _cancel_again(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None


def _cannot(do: str, error: OSError) -> LaunchError:
    number = error.errno or errno.EIO
    return LaunchError(number, "process", f"cannot {do}: {os.strerror(number)}")
