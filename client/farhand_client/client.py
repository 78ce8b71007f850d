"""A service to which one is logged in, and what can be done there."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from farhand_protocol import messages as m
from farhand_protocol.limits import MiB
from farhand_protocol.outcome import TimedOut

from .attachment import ClientAttachment
from .communicate import await_end, communicate, decode_output, stdin_source
from .connection.login import LoginResult
from .connection.reconnecting import ReconnectingConnection
from .errors import CommandTimeout
from .options import DEVNULL, PIPE, Args, Argument, Limits, OnDisconnect, build
from .output import OnGap, OutputCollector
from .pending import Pending
from .results import Completed, Result
from .run import Offsets, Run, attach_request, stream_offsets
from .signals import linux_number
from .stdin import Source

if TYPE_CHECKING:
    Environment = Mapping[str, str] | Mapping[bytes, bytes]

MAX_OUTPUT: Final = 64 * MiB
"""Bytes kept of each output stream unless asked otherwise: more than people read, less than hurts a laptop."""


class Client:
    """Logged in as `user` on the machine that calls itself `host`. Made by `connect`; an async context manager.

    Any number of runs can go on at once, up to what the service takes (1024). A connection that is lost is made again,
    and what was asked for goes on: a run of several minutes' cuts is only slow. What is asked for meanwhile waits.

    Closing stops the runs that were started here, unless they are kept (`on_disconnect="keep"`).
    """

    def __init__(self, line: ReconnectingConnection, login: LoginResult) -> None:
        self._line = line
        self.name: Final = line.name
        """The service as it was dialled."""
        self.user: Final = login.accepted.user
        self.host: Final = login.accepted.host
        self.software: Final = login.welcome.software
        """The service's, at the first login."""
        self.version: Final = login.welcome.version
        """The version of the protocol."""
        self.features: Final = login.welcome.features

    @property
    def connected(self) -> bool:
        """Whether there is a connection now; False while a lost one is made again, and at the end."""
        return self._line.session is not None

    @property
    def reconnect(self) -> float:
        """Seconds for which a connection that is lost is made again. May be set, for one that is lost after that."""
        return self._line.patience

    @reconnect.setter
    def reconnect(self, seconds: float) -> None:
        self._line.patience = seconds

    @property
    def going_away(self) -> bool:
        """Whether the service has said that it shuts down: it takes no new runs."""
        return self._line.session is not None and self._line.session.going_away

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
        run_id: str | None = None,
        on_disconnect: OnDisconnect = "kill",
        grace: float | None = None,
        idle_timeout: float | None = None,
        limits: Limits | None = None,
        spool: int | None = None,
        on_gap: OnGap | None = None,
    ) -> Completed:
        """Run a command to its end and return its output, as `subprocess.run(..., capture_output=True)`.

        `args` is executed as it is; with `shell` it is the text of a script for the account's shell. str become bytes
        as `os.fsencode` makes them. `cwd` is relative to the account's home. `env` is added to the clean environment
        that the service gives. stdin is empty, or `input`, or what `stdin` yields: a file descriptor, a binary file, or
        an async iterable of bytes.

        After `timeout` seconds, or `idle_timeout` seconds without output, the service stops the run: TERM, `kill_after`
        seconds, KILL, for the whole process tree. Cancelling stops it in the same way, and waits for that. `limits`
        bounds what it may use: a mapping of `memory`, `file_size`, `output` (bytes), `cpu` (seconds), `processes`,
        `files`.

        `run_id` is a UUID of the caller's; asked for again under the same id, the same request is the same run, and
        another is refused. Once its client is gone for `grace` seconds (60 unless given) the run is stopped, or with
        `on_disconnect="keep"` it is kept. Output that nobody takes makes the program wait; with `spool` it goes to a
        file of so many bytes for each stream instead, where the oldest make room. What is then missing is told to
        `on_gap`, or an error.

        Of each output stream the first `max_output` bytes are kept; more is thrown away while the command goes on, and
        `truncated` says so. With `text` or an `encoding` (default UTF-8) output is decoded, newlines stay.

        Raises `SpawnError` where the program did not start, `CommandTimeout`, with `check` `CommandError`,
        `RequestRefused`, `ConnectionLost`, `OutputIncomplete`; ValueError and TypeError for arguments that no service
        would take; UnicodeDecodeError where text was asked for and came not.
        """
        codec = encoding or ("utf-8" if text else None)
        data, source = stdin_source(input, stdin, codec)
        request = build(
            args,
            shell=shell,
            stdin=data is not None or source is not None,
            cwd=cwd,
            env=env,
            timeout=timeout,
            kill_after=kill_after,
            merge_stderr=merge_stderr,
            run_id=run_id,
            on_disconnect=on_disconnect,
            grace=grace,
            idle_timeout=idle_timeout,
            limits=limits,
            spool=spool,
        )
        attachment = ClientAttachment(self._line, request, tolerant=on_gap is not None)
        stdout = OutputCollector(partial(attachment.take, "stdout"), max_output, on_gap)
        stderr = OutputCollector(partial(attachment.take, "stderr"), max_output, on_gap)
        attachment.receive("stdout", stdout)
        if not merge_stderr:
            attachment.receive("stderr", stderr)
        attachment.begin()
        try:
            result = await communicate(attachment, data, source)
        except BaseException:
            await attachment.part()
            raise
        truncated = stdout.truncated or stderr.truncated
        out, err = stdout.value(), None if merge_stderr else stderr.value()
        completed = Completed(args, result, out, err, truncated=truncated)
        if isinstance(result.outcome, TimedOut):
            raise CommandTimeout(completed, result.outcome.timeout)
        if codec is not None:
            completed.stdout = decode_output(out, codec, stdout.truncated)
            completed.stderr = None if err is None else decode_output(err, codec, stderr.truncated)
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
        run_id: str | None = None,
        on_disconnect: OnDisconnect = "kill",
        grace: float | None = None,
        idle_timeout: float | None = None,
        limits: Limits | None = None,
        spool: int | None = None,
        terminal: m.TerminalRequest | None = None,
        record_input: bool = False,
        on_gap: OnGap | None = None,
    ) -> Pending[Run]:
        """Start a command: `async with client.start(...) as run:`, or `run = await client.start(...)`.

        The arguments are as for `run`; with `stdin=PIPE` the run has a `stdin` to write to, else it is empty. Where the
        run of that `run_id` is there already, its output is given from the beginning.

        With `terminal` the program has one as its controlling terminal: what is written to `stdin` is typed, and all
        its output is `stdout`, kept in a spool on disk whose size is the service's unless `spool` gives it. With
        `record_input` what is typed is recorded too, passwords among it.
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
            run_id=run_id,
            on_disconnect=on_disconnect,
            grace=grace,
            idle_timeout=idle_timeout,
            limits=limits,
            spool=spool,
            terminal=terminal,
            record_input=record_input,
        )
        return Pending(Run.begin(self._line, request, on_gap))

    def shell(
        self,
        terminal: m.TerminalRequest | None,
        *,
        cwd: Argument | None = None,
        env: Environment | None = None,
        run_id: str | None = None,
        on_disconnect: OnDisconnect = "kill",
        grace: float | None = None,
        spool: int | None = None,
        record_input: bool = False,
        on_gap: OnGap | None = None,
    ) -> Pending[Run]:
        """Start the account's shell as a login shell, with a `stdin`. The arguments are as for `start`; on a terminal
        the service waits longer than for other runs for a client whose line is lost (`runs.keep_terminal`, a day).
        """
        request = build(
            None,
            shell=False,
            stdin=True,
            cwd=cwd,
            env=env,
            timeout=None,
            kill_after=None,
            merge_stderr=False,
            run_id=run_id,
            on_disconnect=on_disconnect,
            grace=grace,
            spool=spool,
            terminal=terminal,
            record_input=record_input,
        )
        return Pending(Run.begin(self._line, request, on_gap))

    def attach(
        self,
        run_id: str,
        *,
        offset: Offsets = 0,
        stdin: bool | int = False,
        hold: bool | None = None,
        follow: bool = True,
        read_only: bool = False,
        size: m.WindowSize | None = None,
        share: bool = False,
        on_gap: OnGap | None = None,
    ) -> Pending[Run]:
        """Attach to a run that is there, going on or over: `async with client.attach(id) as run:`, or await it.

        `run_id` may be shortened as long as it fits one run. Output comes from `offset` on. With `stdin` this client
        feeds the run, if nobody else does, with bytes the first of which has that offset (True: 0); what the
        run has had of them is dropped. With `hold`, the default unless `read_only` or without `follow`, the
        program waits where this reader is slow, as it would for the client that started it; without, what is no longer
        kept is told to `on_gap`, or an error. Without `follow` the output ends where it stands now. Leaving the run, it
        goes on.

        With `size` its terminal is shown in so many characters; `stdin` then counts what this client has typed. Where
        somebody else types already, this one does so too only with `share`.

        Raises `AmbiguousId`, `RequestRefused` (`code` is `unknown_run`, `expired`, `bad_offset`, `denied`,
        `no_terminal`, …), `ConnectionLost`, and ValueError for what is no id.
        """
        at = stream_offsets(offset)
        feeds = None if stdin is False else 0 if stdin is True else stdin
        if read_only and (feeds is not None or hold):
            raise ValueError("a read-only attachment neither feeds stdin nor holds the run")
        holds = follow and not read_only if hold is None else hold
        opening = partial(
            attach_request, at=at, stdin=feeds, hold=holds, follow=follow, read_only=read_only, size=size, share=share
        )
        return Pending(Run.attach(self._line, run_id, opening, on_gap))

    async def runs(self, *, ended: bool = False, prefix: str = "") -> list[m.RunInfo]:
        """Return the runs that go on and may be seen by this user, the newest first; with `ended` the others too.

        Only those whose id begins with `prefix`. Raises `ConnectionLost`, `RequestRefused`, and ValueError for what no
        id begins with.
        """
        from .calls import list_runs

        return await list_runs(self._line, ended=ended, prefix=prefix)

    async def info(self, run_id: str) -> m.RunInfo:
        """Return what `runs` says of one run, going on or over, whose id may be shortened as long as it fits one.

        Raises `AmbiguousId`, `RequestRefused` (`code` is `unknown_run`), `ConnectionLost`, ValueError.
        """
        from .calls import run_info

        return await run_info(self._line, run_id)

    async def recording(self, run_id: str) -> list[m.OutputMark]:
        """Return when the output of a run came, which `attach` gives, the sizes of its terminal, and what was typed
        where that is recorded; less exactly for a long run. Raises as `wait`."""
        from .calls import recording

        return await recording(self._line, await self._full_id(run_id))

    async def signal(self, run_id: str, number: int) -> None:
        """Send a signal to the process group of a run, and wait until the service has delivered it.

        It is sent once: where the connection is lost before the answer, `ConnectionLost` says that it is not
        known whether it arrived. Raises `AmbiguousId`, `RequestRefused` (`code` is `run_ended` where the run is
        over, `unknown_run`, `denied`), and ValueError for what is no id or no signal on Linux.
        """
        from .calls import deliver_signal

        linux = linux_number(number)
        await deliver_signal(self._line, await self._full_id(run_id), linux)

    async def stop(self, run_id: str, kill_after: float | None = None) -> Result:
        """End a run and everything it started: TERM, `kill_after` seconds of grace (the run's own), KILL.

        Waits for the end, however long the grace is, and returns how it ended. A cancellation gives up the waiting, not
        the stopping. Raises as `wait`.
        """
        attachment = ClientAttachment(self._line, attach_request(await self._full_id(run_id), (None, None)))
        attachment.order_stop(kill_after)
        return await await_end(attachment)

    async def wait(self, run_id: str) -> Result:
        """Wait for the end of a run, and return how it ended; its output is left alone.

        Raises `AmbiguousId`, `RequestRefused`, `ConnectionLost`, `SpawnError` where it never began, ValueError.
        """
        opening = attach_request(await self._full_id(run_id), (None, None), read_only=True)
        return await await_end(ClientAttachment(self._line, opening))

    async def wait_for(
        self,
        run_id: str,
        pattern: bytes | str | None = None,
        *,
        stream: m.Output = "stdout",
        offset: int = 0,
        idle: float | None = None,
        timeout: float | None = None,
    ) -> m.Matched:
        """Wait, in the service, for the first of: a match of `pattern` (RE2 syntax, on bytes) in `stream` from `offset`
        on; `idle` seconds without output of that stream; the run's end; `timeout` seconds.

        The result's `reason` says which it was, `start` and `end` where the match is. Raises `AmbiguousId`,
        `RequestRefused` (`code` is `bad_pattern`, `bad_offset`, `unknown_run`, …), `ConnectionLost`, ValueError.
        """
        from .calls import wait_for

        return await wait_for(
            self._line,
            await self._full_id(run_id),
            pattern=pattern,
            stream=stream,
            offset=offset,
            idle=idle,
            timeout=timeout,
        )

    async def _full_id(self, text: str) -> str:
        from .calls import full_id

        return await full_id(self._line, text)

    async def ping(self) -> float:
        """Return the seconds that a message takes to the service and back. Raises `ConnectionLost`."""
        return await self._line.ping()

    async def close(self) -> None:
        """Close the connection. Runs that were started here are stopped by the service unless they are kept.

        Safe to call again.
        """
        await self._line.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
