"""A connection to a service, and what can be done over it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from farhand_protocol import messages as m
from farhand_protocol.limits import MiB
from farhand_protocol.outcome import TimedOut

from .channel import RunChannel
from .completed import Completed, Result
from .errors import CommandTimeout
from .feed import Source, fed
from .output import Collector
from .pending import Pending
from .request import DEVNULL, PIPE, Args, Argument, build
from .run import Run
from .session import Session

if TYPE_CHECKING:
    Environment = Mapping[str, str] | Mapping[bytes, bytes]

MAX_OUTPUT: Final = 64 * MiB
"""Bytes kept of each output stream unless asked otherwise: more than people read, less than hurts a laptop."""


class Client:
    """Logged in as `user` on the machine that calls itself `host`. Made by `connect`; an async context manager.

    Any number of runs can go on at once, up to what the service takes (1024). Closing stops those that still go on.
    """

    def __init__(self, session: Session, welcome: m.Welcome, accepted: m.Accepted) -> None:
        self._session = session
        self.name: Final = session.name
        """The service as it was dialled."""
        self.user: Final = accepted.user
        self.host: Final = accepted.host
        self.software: Final = welcome.software
        self.version: Final = welcome.version
        """The version of the protocol."""
        self.features: Final = welcome.features

    @property
    def going_away(self) -> bool:
        """Whether the service has said that it shuts down: it takes no new runs."""
        return self._session.going_away

    async def run(
        self,
        args: Args,
        *,
        shell: bool = False,
        input: bytes | str | None = None,
        stdin: Source | None = None,
        cwd: Argument | None = None,
        env: Environment | None = None,
        timeout: float | None = None,
        kill_after: float = 5,
        check: bool = False,
        text: bool = False,
        encoding: str | None = None,
        merge_stderr: bool = False,
        max_output: int = MAX_OUTPUT,
    ) -> Completed:
        """Run a command to its end and return its output, as `subprocess.run(..., capture_output=True)`.

        `args` is executed as it is; with `shell` it is the text of a script for the account's shell. str become bytes
        as `os.fsencode` makes them. `cwd` is relative to the account's home. `env` is added to the clean environment
        that the service gives. stdin is empty, or `input`, or what `stdin` yields: a file descriptor, a binary file, or
        an async iterable of bytes.

        After `timeout` seconds the service stops the run: TERM, `kill_after` seconds, KILL, for the whole process
        tree. Cancelling stops it in the same way, and waits for that.

        Of each output stream the first `max_output` bytes are kept; more is thrown away while the command goes on, and
        `truncated` says so. With `text` or an `encoding` (default UTF-8) output is decoded, newlines as they came.

        Raises `SpawnError` where the program did not start, `CommandTimeout`, with `check` `CommandError`,
        `RequestRefused`, `ConnectionLost`, `OutputIncomplete`; ValueError and TypeError for arguments that no service
        would take; UnicodeDecodeError where text was asked for and came not.
        """
        codec = encoding or ("utf-8" if text else None)
        if input is not None and stdin is not None:
            raise ValueError("input and stdin cannot both be given")
        if isinstance(input, str):
            if codec is None:
                raise TypeError("input is str: give bytes, or ask for text")
            input = input.encode(codec)
        if stdin == PIPE:
            raise ValueError("run cannot give you a pipe to write to; use start, or input")
        source = None if stdin == DEVNULL else stdin
        request = build(
            args,
            shell=shell,
            stdin=input is not None or source is not None,
            cwd=cwd,
            env=env,
            timeout=timeout,
            kill_after=kill_after,
            merge_stderr=merge_stderr,
        )
        channel = RunChannel(self._session, request)
        stdout = Collector(partial(channel.take, "stdout"), max_output)
        stderr = Collector(partial(channel.take, "stderr"), max_output)
        channel.receive("stdout", stdout)
        if not merge_stderr:
            channel.receive("stderr", stderr)
        self._session.open(channel)
        try:
            result = await _communicate(channel, input, source)
        except BaseException:
            await channel.stop()
            raise
        truncated = stdout.truncated or stderr.truncated
        out, err = stdout.value(), None if merge_stderr else stderr.value()
        completed = Completed(args, result, out, err, truncated=truncated)
        if isinstance(result.outcome, TimedOut):
            raise CommandTimeout(completed, result.outcome.timeout)
        if codec is not None:
            completed.stdout = _decoded(out, codec, stdout.truncated)
            completed.stderr = None if err is None else _decoded(err, codec, stderr.truncated)
        if check:
            completed.check_returncode()
        return completed

    def start(
        self,
        args: Args,
        *,
        shell: bool = False,
        stdin: int | None = None,
        cwd: Argument | None = None,
        env: Environment | None = None,
        timeout: float | None = None,
        kill_after: float = 5,
        merge_stderr: bool = False,
    ) -> Pending[Run]:
        """Start a command: `async with client.start(...) as run:`, or `run = await client.start(...)`.

        The arguments are as for `run`; with `stdin=PIPE` the run has a `stdin` to write to, else it is empty.
        Raises `SpawnError`, `RequestRefused`, `ConnectionLost`, ValueError and TypeError.
        """
        if stdin not in (None, PIPE, DEVNULL):
            raise ValueError("start takes stdin=PIPE, or DEVNULL, the default; run can read a file")
        request = build(
            args,
            shell=shell,
            stdin=stdin == PIPE,
            cwd=cwd,
            env=env,
            timeout=timeout,
            kill_after=kill_after,
            merge_stderr=merge_stderr,
        )
        return Pending(Run.begin(self._session, request))

    async def ping(self) -> float:
        """Return the seconds that a message takes to the service and back. Raises `ConnectionLost`."""
        return await self._session.ping()

    async def close(self) -> None:
        """Close the connection. Runs that still go on are stopped by the service. Safe to call again."""
        await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


async def _communicate(channel: RunChannel, input: bytes | None, source: Source | None) -> Result:
    if channel.stdin is not None:
        if source is not None:
            return await fed(channel.stdin, source, channel.result())
        if input:
            channel.stdin.write(input)
        channel.stdin.close()
    return await channel.result()


def _decoded(data: bytes, codec: str, truncated: bool) -> str:
    if not truncated:
        return data.decode(codec)
    import codecs

    # Where output was cut, the last character may be cut too.
    return codecs.getincrementaldecoder(codec)().decode(data, final=False)
