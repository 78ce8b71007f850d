"""A run under way, in the words of `asyncio.subprocess.Process`."""

from __future__ import annotations

import asyncio
import signal
from functools import partial
from types import TracebackType
from typing import Final, Self

from farhand_protocol import messages as m
from farhand_protocol.outcome import Outcome

from .channel import RunChannel
from .completed import Result
from .output import OutputStream
from .session import Session
from .signals import linux_number
from .stdin import InputStream


class Run:
    """One command on the remote machine. Made by `Client.start`; an async context manager that ends the run it holds.

    Leaving the context, also by an error or a cancellation, stops a run that still goes on with everything it started
    (TERM, `kill_after` seconds of grace, KILL) and waits for that, at most ten seconds beyond the grace. A second
    cancellation gives up the waiting, not the stopping.
    """

    def __init__(self, channel: RunChannel) -> None:
        self._channel = channel
        request = channel.request
        self.id: Final = request.id
        """The run's id, a UUID of version 7 (RFC 9562)."""
        self.stdin: Final[InputStream | None] = channel.stdin
        """Where `stdin=PIPE` was asked for."""
        self.stdout: Final = OutputStream(partial(channel.take, "stdout"))
        self.stderr: Final = None if request.merge_stderr else OutputStream(partial(channel.take, "stderr"))
        """None with `merge_stderr`."""
        channel.receive("stdout", self.stdout)
        if self.stderr is not None:
            channel.receive("stderr", self.stderr)

    @classmethod
    async def begin(cls, session: Session, request: m.Run) -> Run:
        """Ask for a run and wait until it has started. Raises what `Client.start` does."""
        run = cls(RunChannel(session, request))
        channel = run._channel
        session.open(channel)
        try:
            await asyncio.shield(channel.started)
        except BaseException:
            await channel.stop()
            raise
        return run

    @property
    def pid(self) -> int | None:
        """The process id on the remote machine; None where the run was stopped before it began."""
        return self._channel.started.result()

    @property
    def result(self) -> Result | None:
        """How the run ended, as `wait` returns it; None while it goes on, or where that is not known."""
        ended = self._channel.ended
        return ended.result() if ended.done() and ended.exception() is None else None

    @property
    def outcome(self) -> Outcome | None:
        """The outcome in `result`."""
        return self.result.outcome if self.result is not None else None

    @property
    def returncode(self) -> int | None:
        """As `subprocess.Popen.returncode`: the exit code or minus the signal's number; None as for `result`."""
        return self.result.returncode if self.result is not None else None

    async def wait(self) -> Result:
        """Wait for the run's end, which comes after all of its output: read that too, or more than 4 MiB block it.

        Raises `ConnectionLost`, `RequestRefused` or `OutputIncomplete` where the end is not known.
        """
        return await self._channel.result()

    def send_signal(self, number: int) -> None:
        """Send a signal to the run's process group. Does nothing once the run is over.

        Raises ValueError for a number that is no signal on Linux.
        """
        self._channel.tell(m.Signal(number=linux_number(number)))

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    async def stop(self, kill_after: float | None = None) -> None:
        """End the run and everything it started: TERM, `kill_after` seconds of grace (the run's own), KILL.

        Output that was not read yet is thrown away. Waits for the end, at most ten seconds beyond the grace.
        """
        await self._channel.stop(kill_after)

    def abandon(self) -> None:
        """Leave the run without waiting: the service stops it."""
        self._channel.leave()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._channel.stop()
