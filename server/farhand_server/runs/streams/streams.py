"""Opens a program's stdin, stdout and stderr (pipes, or one terminal), and closes the service's ends."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from ..attachments.attachments import Output
from ..attachments.terminal import SharedTerminalSize
from ..output.spool import Spool
from ..plan import Plan, TerminalSize
from ..process.place import LaunchError
from ..process.process import Process
from ..snapshots import Get, Put
from .pipe_input import PipeInput, StdinSnapshot
from .pty import PseudoTerminal
from .readers import PipeReader, TerminalReader
from .terminal_input import TerminalInput, TerminalSnapshot

HANGUP_RETRY_DELAY: Final = 0.5
"""Seconds until a leader on a terminal receives a second HUP. A shell that has just shown its prompt and does not yet
wait for a key may miss the first (bash 5.2); a real hang-up would also end its input."""


class ProgramStreams(Protocol):
    """What a run's program reads from and writes to. Opened once, before the start; always closed, even if the start
    fails."""

    @property
    def tty(self) -> str | None:
        """The name of the terminal, such as `pts/3`; None without one, or if it is closed."""

    def open(self, theirs: contextlib.ExitStack) -> tuple[int, int, int]:
        """Open the streams and return the program's three descriptors, which `theirs` closes. Raises `LaunchError`."""

    def begin(self) -> None:
        """Start reading. Call this once the program runs, because no output may be reported before the start."""

    def begin_stop(self, process: Process, *, disconnected: bool) -> None:
        """Ask all processes of the run to end. `disconnected` tells whether the reason is that its clients are gone."""

    def leader_ended(self) -> bool:
        """Act on the end of the program. Return whether other processes may continue to write for a while."""

    def poll(self) -> None:
        """Read output that is available now, as if the event loop had reported it."""

    def drain(self) -> bool:
        """Read all output available now, even beyond the spool's limit. Return whether the end of the output was
        reached."""

    def close(self) -> None:
        """Close all descriptors. Data that was not read or written is dropped."""

    def outputs(self) -> tuple[tuple[int, Output], ...]:
        """Return the pipes that are still open, each with its stream, for the snapshot of the run."""

    def stdin_snapshot(self, put: Put) -> StdinSnapshot:
        """Return the state of the program's stdin."""

    def terminal_snapshot(self, put: Put) -> TerminalSnapshot | None:
        """Return the state of the program's terminal, if it has one."""

    def restore(
        self,
        outputs: Iterable[tuple[int, Output]],
        stdin: StdinSnapshot,
        terminal: TerminalSnapshot | None,
        get: Get,
    ) -> None:
        """Continue from a snapshot. Call this only on a new object, instead of `open` and `begin`. Raises OSError."""


class PipeStreams:
    """`ProgramStreams` for a program without a terminal. If the plan has no stdin, the program reads an empty file."""

    def __init__(self, plan: Plan, stdin: PipeInput, stdout: Spool, stderr: Spool, ended: Callable[[], None]) -> None:
        self.readers: Final[list[PipeReader]] = []
        self._input = stdin
        self._has_stdin = plan.stdin
        self._merged = stderr if plan.merge_stderr else None
        self._stdout, self._stderr = stdout, stderr
        self._ended = ended
        self._unread: list[tuple[int, Spool]] = []

    @property
    def tty(self) -> None:
        return None

    def open(self, theirs: contextlib.ExitStack) -> tuple[int, int, int]:
        given = []
        try:
            if not self._has_stdin:
                given.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
                theirs.callback(os.close, given[0])
            else:
                reading, writing = os.pipe2(os.O_CLOEXEC)
                given.append(reading)
                theirs.callback(os.close, reading)
                self._input.pipe.connect(writing)
            for spool in (self._stdout,) if self._merged is not None else (self._stdout, self._stderr):
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
        while self._unread:
            self._read(*self._unread.pop(0))

    def begin_stop(self, process: Process, *, disconnected: bool) -> None:
        process.terminate_tree()

    def leader_ended(self) -> bool:
        return True

    def poll(self) -> None:
        for reader in self.readers:
            reader.poll()

    def drain(self) -> bool:
        # A reader that has paused for a slow client may be just before the end.
        drained = [reader.drain() for reader in self.readers]
        return all(drained)

    def close(self) -> None:
        if self._has_stdin:
            self._input.pipe.close()
        while self._unread:
            os.close(self._unread.pop()[0])
        for reader in self.readers:
            reader.close()

    def outputs(self) -> tuple[tuple[int, Output], ...]:
        return tuple(
            (reader.fileno(), "stdout" if reader.spool is self._stdout else "stderr")
            for reader in self.readers
            if reader.fileno() >= 0
        )

    def stdin_snapshot(self, put: Put) -> StdinSnapshot:
        return self._input.snapshot(put)

    def terminal_snapshot(self, put: Put) -> None:
        return None

    def restore(
        self,
        outputs: Iterable[tuple[int, Output]],
        stdin: StdinSnapshot,
        terminal: TerminalSnapshot | None,
        get: Get,
    ) -> None:
        self._input.restore(stdin, get)
        for fd, stream in outputs:
            self._read(fd, self._stdout if stream == "stdout" else self._stderr)

    def _read(self, fd: int, spool: Spool) -> None:
        self.readers.append(PipeReader(fd, spool, self._ended))


class TerminalStreams:
    """`ProgramStreams` for a program on a terminal."""

    def __init__(
        self,
        plan: Plan,
        terminal_input: TerminalInput,
        shared_size: SharedTerminalSize,
        stdout: Spool,
        ended: Callable[[], None],
    ) -> None:
        assert plan.terminal is not None
        self.terminal: PseudoTerminal | None = None
        self._plan = plan.terminal
        self._credentials = plan.credentials
        self._input = terminal_input
        self._shared_size = shared_size
        self._stdout = stdout
        self._ended = ended
        self._reader: TerminalReader | None = None
        self._hangup_retry: asyncio.TimerHandle | None = None

    @property
    def tty(self) -> str | None:
        return None if self.terminal is None else self.terminal.name

    def open(self, theirs: contextlib.ExitStack) -> tuple[int, int, int]:
        self._shared_size.apply()
        try:
            terminal = PseudoTerminal.open(self._plan, self._shared_size.size, self._credentials)
        except OSError as error:
            raise _cannot("open a terminal", error) from None
        self.terminal = terminal
        self._shared_size.connect(terminal)
        return terminal.slave, terminal.slave, terminal.slave

    def begin(self) -> None:
        assert self.terminal is not None
        self._reader = TerminalReader(self.terminal.master, self._stdout, self._ended)
        self._input.connect(self.terminal)

    def begin_stop(self, process: Process, *, disconnected: bool) -> None:
        assert self.terminal is not None
        if disconnected:
            process.hang_up(self.terminal.foreground())
        else:
            process.terminate_tree(hang_up=True)
        self._hangup_retry = asyncio.get_running_loop().call_later(HANGUP_RETRY_DELAY, process.hang_up, None)

    def leader_ended(self) -> bool:
        # When the leader of its session ends, the kernel takes the terminal away from all other processes.
        assert self.terminal is not None
        self._cancel_hangup()
        self._input.close()
        self.terminal.release()
        return False

    def poll(self) -> None:
        if self._reader is not None:
            self._reader.poll()

    def drain(self) -> bool:
        return self._reader is None or self._reader.drain()

    def close(self) -> None:
        self._cancel_hangup()
        self._input.close()
        self._shared_size.disconnect()
        if self._reader is not None:
            self._reader.close()
        if self.terminal is not None:
            self.terminal.close()

    def outputs(self) -> tuple[()]:
        return ()

    def stdin_snapshot(self, put: Put) -> StdinSnapshot:
        return self._input.snapshot(put)

    def terminal_snapshot(self, put: Put) -> TerminalSnapshot:
        return self._input.terminal_snapshot(put, self.terminal, self._shared_size.size)

    def restore(
        self,
        outputs: Iterable[tuple[int, Output]],
        stdin: StdinSnapshot,
        terminal: TerminalSnapshot | None,
        get: Get,
    ) -> None:
        assert terminal is not None
        self._shared_size.size = TerminalSize(*terminal.size)
        self._input.restore(stdin, terminal, get)
        if terminal.master is not None:
            self.terminal = PseudoTerminal(terminal.master, -1 if terminal.slave is None else terminal.slave)
            self._shared_size.connect(self.terminal)
            self.begin()

    def _cancel_hangup(self) -> None:
        if self._hangup_retry is not None:
            self._hangup_retry.cancel()
            self._hangup_retry = None


def _cannot(do: str, error: OSError) -> LaunchError:
    number = error.errno or errno.EIO
    return LaunchError(number, "process", f"cannot {do}: {os.strerror(number)}")
