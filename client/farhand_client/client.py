"""`Client`: a service at which the user is logged in, and the requests that it accepts."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, Self, Unpack, overload

from farhand_protocol import messages as m
from farhand_protocol.limits import MiB

from .arguments import as_callback, as_count, as_seconds
from .attach_request import Offsets, checked_attach
from .files.methods import TransferMethods
from .forwards.methods import ForwardMethods
from .home_loop import not_picklable
from .options import (
    DEVNULL,
    PIPE,
    RUN_KEYWORDS,
    SHELL_KEYWORDS,
    START_KEYWORDS,
    STDOUT,
    Args,
    RunKeywords,
    RunOptions,
    ShellKeywords,
    StartKeywords,
    combined,
)
from .output import OnGap
from .pending import Pending
from .popen_keywords import START
from .redirection import Destination, Redirections, check_pipes, merging_stderr
from .results import Completed, Result
from .run import Run, RunWithStdin
from .run_to_end import run_to_end, stop_run, wait_for_end
from .signals import linux_number
from .stdin import Buffer, Source
from .text_codec import TextCodec

if TYPE_CHECKING:
    from . import run_keywords as k
    from .connection.login import LoginResult
    from .connection.reconnecting import ReconnectingConnection
    from .run_keywords import Options

MAX_OUTPUT: Final = 64 * MiB
"""Bytes of each output stream that `Client.run` keeps by default: more than people read, and harmless to a laptop."""


class Client(TransferMethods, ForwardMethods):
    """A login as `user` on the machine that calls itself `host`. Made by `connect`; an async context manager.

    Any number of runs may be under way at once, up to the service's limit (1024). After the connection is lost, the
    client reconnects, and everything under way continues; requests made in the meantime wait. Closing the
    client stops the runs that were started here, unless they are kept (`on_disconnect="keep"`).
    """

    def __init__(self, connection: ReconnectingConnection, login: LoginResult) -> None:
        self._connection = connection
        self.name: Final = connection.name
        """The service as it was dialled."""
        self.user: Final = login.accepted.user
        self.host: Final = login.accepted.host
        self.software: Final = login.welcome.software
        """The service's software, as announced at the first login."""
        self.version: Final = login.welcome.version
        """The version of the protocol."""
        self.features: Final = login.welcome.features

    @property
    def connected(self) -> bool:
        """Whether there is a connection now; False during an outage, after the end, and in a forked child."""
        return self._connection.session is not None and not self._connection.home.in_child

    @property
    def reconnect(self) -> float:
        """Seconds for which the client tries to reconnect. A new value applies from the next outage on."""
        return self._connection.reconnect_timeout

    @reconnect.setter
    def reconnect(self, seconds: float) -> None:
        self._connection.reconnect_timeout = as_seconds(seconds, "reconnect", positive=False) or 0.0

    @property
    def going_away(self) -> bool:
        """Whether the service has announced its shutdown; it accepts no new runs then."""
        return self._connection.session is not None and self._connection.session.going_away

    @overload
    async def run(self, args: Args, options: Options = None, **_: Unpack[k.CapturedBytes]) -> Completed[bytes]: ...
    @overload
    async def run(self, args: Args, options: Options = None, **_: Unpack[k.CapturedText]) -> Completed[str]: ...
    @overload
    async def run(self, args: Args, options: Options = None, **_: Unpack[k.CapturedEncoded]) -> Completed[str]: ...
    @overload
    async def run(self, args: Args, options: Options = None, **_: Unpack[k.CapturedWithErrors]) -> Completed[str]: ...
    @overload
    async def run(self, args: Args, options: Options = None, **_: Unpack[k.CapturedTranslated]) -> Completed[str]: ...
    @overload
    async def run(
        self, args: Args, options: Options = None, **_: Unpack[k.RedirectedBytes]
    ) -> Completed[bytes | None]: ...
    @overload
    async def run(
        self, args: Args, options: Options = None, **_: Unpack[k.RedirectedText]
    ) -> Completed[str | None]: ...
    @overload
    async def run(
        self, args: Args, options: Options = None, **_: Unpack[k.RedirectedEncoded]
    ) -> Completed[str | None]: ...
    @overload
    async def run(
        self, args: Args, options: Options = None, **_: Unpack[k.RedirectedWithErrors]
    ) -> Completed[str | None]: ...
    @overload
    async def run(
        self, args: Args, options: Options = None, **_: Unpack[k.RedirectedTranslated]
    ) -> Completed[str | None]: ...
    @overload
    async def run(self, args: Args, options: Options = None, **_: Unpack[k.AnyOutput]) -> Completed[Any]: ...
    async def run(
        self,
        args: Args,
        options: RunOptions | None = None,
        *,
        input: Buffer | str | None = None,
        stdin: Source | None = None,
        stdout: Destination | None = None,
        stderr: Destination | None = None,
        capture_output: bool | None = None,
        check: bool = False,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        universal_newlines: bool | None = None,
        max_output: int = MAX_OUTPUT,
        on_gap: OnGap | None = None,
        **keywords: Unpack[RunKeywords],
    ) -> Completed[Any]:
        """Run a command to its end and return its output, like `subprocess.run(..., capture_output=True)`.

        `args` is executed unchanged; with `shell=True` it is a script for the account's shell. str are converted to
        bytes with `os.fsencode`. `cwd` is relative to the account's home. `env` is added to the clean environment that
        the service provides. The command's stdin is empty, or `input`, or is read from `stdin`: a file descriptor, an
        open file, or an async iterable of bytes. Output is returned unless `stdout` or `stderr` is DEVNULL or a file to
        write it to, or `capture_output` is False: then it goes where this process's own output goes.

        After `timeout` seconds, or `idle_timeout` seconds without output, the service stops the run: TERM, `kill_after`
        seconds (default 5), KILL, for the whole process tree. Cancelling this call stops it in the same way, and waits
        for its end. `limits` bounds what the run may use: a mapping of `memory`, `file_size`, `output` (bytes), `cpu`
        (seconds), `processes` and `files`. With `merge_stderr`, stderr is written to stdout.

        `run_id` is a UUID of the caller's choice. The same request under the same id is the same run, and a different
        request is refused. When its client has been gone for `grace` seconds (default 60), the run is stopped, or with
        `on_disconnect="keep"` kept. A program whose output is not read has to wait; with `spool` the service writes the
        output to a file instead, which keeps the last `spool` bytes of each stream. Output that is no longer kept is
        reported to `on_gap`, or an error without it. Processes left behind are stopped, except with `leave_processes`.

        The first `max_output` bytes of each output stream are returned; the rest is thrown away while the command
        continues, and `truncated` is set. With `text`, an `encoding` (default UTF-8), `errors` or `universal_newlines`
        output is decoded; only `universal_newlines` translates newlines. `options` holds further options as one record;
        the keyword arguments override it.

        Raises `SpawnError` if the program did not start, `CommandTimeout`, with `check` `CommandError`,
        `RequestRefused`, `ConnectionLost`, `OutputIncomplete`; ValueError and TypeError for arguments that no service
        would accept; UnicodeDecodeError if the output is not text in the encoding.
        """
        codec = TextCodec.of(text, encoding, errors, universal_newlines)
        redirections = Redirections.of(
            input=input, stdin=stdin, stdout=stdout, stderr=stderr, capture_output=capture_output, codec=codec
        )
        chosen = combined(options, keywords, RUN_KEYWORDS)
        if chosen.terminal is not None:
            raise ValueError("run cannot use a terminal; use start")
        chosen = merging_stderr(chosen, redirections)
        request = chosen.request(args, stdin=redirections.input is not None or redirections.source is not None)
        kept = as_count(max_output, "max_output")
        as_callback(on_gap, "on_gap")
        completed = await run_to_end(self._connection, args, request, redirections, codec, kept, on_gap)
        if check:
            completed.check_returncode()
        return completed

    @overload
    def start(self, args: Args, options: Options = None, **_: Unpack[k.StartWithStdin]) -> Pending[RunWithStdin]: ...
    @overload
    def start(self, args: Args, options: Options = None, **_: Unpack[k.StartOnTerminal]) -> Pending[RunWithStdin]: ...
    @overload
    def start(self, args: Args, options: Options = None, **_: Unpack[k.StartAny]) -> Pending[Run]: ...
    def start(
        self,
        args: Args,
        options: RunOptions | None = None,
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        on_gap: OnGap | None = None,
        **keywords: Unpack[StartKeywords],
    ) -> Pending[Any]:
        """Start a command: `async with client.start(...) as run:`, or `run = await client.start(...)`.

        The arguments are those of `run`. With `stdin=PIPE` the run has a `stdin` to write to, otherwise its stdin is
        empty; output that is DEVNULL is thrown away. If the run of that `run_id` exists already, its output is
        delivered from the beginning.

        With `terminal` the program gets such a controlling terminal: what is written to `stdin` is typed there, and all
        output arrives on `stdout`. The service keeps the output in a file of `spool` bytes, or of its default size.
        With `record_input`, what is typed is recorded too, including passwords.

        Raises `SpawnError`, `RequestRefused`, `ConnectionLost`, ValueError and TypeError.
        """
        check_pipes(stdin, stdout, stderr)
        as_callback(on_gap, "on_gap")
        chosen = combined(options, keywords, START_KEYWORDS, START)
        if stderr == STDOUT:
            chosen = chosen.changed(merge_stderr=True)
        request = chosen.request(args, stdin=stdin == PIPE)
        kind = RunWithStdin if request.stdin else Run
        discarded = {name for name, value in (("stdout", stdout), ("stderr", stderr)) if value == DEVNULL}
        return Pending(kind.begin(self._connection, request, on_gap, discarded))

    def shell(
        self,
        terminal: m.TerminalRequest | None,
        options: RunOptions | None = None,
        *,
        on_gap: OnGap | None = None,
        **keywords: Unpack[ShellKeywords],
    ) -> Pending[RunWithStdin]:
        """Start the account's shell as a login shell, with a `stdin`. The arguments are those of `start`.

        After the client of a shell on a terminal is gone, the service keeps the shell for longer than other runs
        (`runs.keep_terminal`, by default one day).
        """
        chosen = combined(options, keywords, SHELL_KEYWORDS, START).changed(terminal=terminal)
        as_callback(on_gap, "on_gap")
        return Pending(RunWithStdin.begin(self._connection, chosen.login_request(), on_gap))

    @overload
    def attach(self, run_id: str, *, stdin: Literal[True], **_: Unpack[k.AttachKeywords]) -> Pending[RunWithStdin]: ...
    @overload
    def attach(self, run_id: str, *, stdin: bool | int = False, **_: Unpack[k.AttachKeywords]) -> Pending[Run]: ...
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
    ) -> Pending[Any]:
        """Attach to an existing run, whether it has ended or not: `async with client.attach(id) as run:`, or await it.

        `run_id` may be shortened as long as it matches a single run. Output is delivered from `offset` on; without
        `follow`, only the output that exists now. Leaving the context leaves the run running.

        With `stdin`, this client feeds the run unless another client does. `stdin` is the offset of the first byte that
        this client will write (True: 0); the service drops the bytes that the run has already received.

        With `hold`, the program waits for a slow reader here, as it would for the client that started it. Without
        `hold`, output that is no longer kept is reported to `on_gap` or is an error. The default is to hold, unless
        `read_only` is set or `follow` is False.

        With `size`, this client displays the run's terminal with that many columns and rows, and the offset `stdin`
        counts what this client has typed. If another client already types at it, `share` is needed to type as well.

        Raises `AmbiguousId`, `RequestRefused` (`code` is `unknown_run`, `expired`, `bad_offset`, `denied`,
        `no_terminal`, …), `ConnectionLost`, and ValueError if `run_id` cannot be an id.
        """
        as_callback(on_gap, "on_gap")
        opening = checked_attach(offset, stdin, hold, follow, read_only, size, share)
        kind = Run if stdin is False else RunWithStdin
        return Pending(kind.attach(self._connection, run_id, opening, on_gap))

    async def runs(self, *, ended: bool = False, prefix: str = "") -> list[m.RunInfo]:
        """Return the runs under way that this user may see, newest first; with `ended` also those that have ended.

        With `prefix`, only runs whose id begins with it. Raises `ConnectionLost`, `RequestRefused`, and ValueError if
        no id can begin with `prefix`.
        """
        from .calls import list_runs

        return await list_runs(self._connection, ended=ended, prefix=prefix)

    async def info(self, run_id: str) -> m.RunInfo:
        """Return the `RunInfo` of one run, under way or ended. The id may be shortened as long as it is unambiguous.

        Raises `AmbiguousId`, `RequestRefused` (`code` is `unknown_run`), `ConnectionLost`, ValueError.
        """
        from .calls import run_info

        return await run_info(self._connection, run_id)

    async def recording(self, run_id: str) -> list[m.OutputMark]:
        """Return when each part of a run's output arrived, its terminal's sizes, and what was typed if it is recorded.

        The output itself comes from `attach`. For a long run the times are less exact. Raises as `wait`.
        """
        from .calls import recording

        return await recording(self._connection, await self._full_id(run_id))

    async def signal(self, run_id: str, number: int) -> None:
        """Send a signal to the process group of a run, and wait until the service has delivered it.

        It is sent once: if the connection is lost before the answer, `ConnectionLost` is raised, and whether the signal
        arrived is unknown. Raises `AmbiguousId`, `RequestRefused` (`code` is `run_ended`, `unknown_run`, `denied`),
        and ValueError if `run_id` cannot be an id or `number` is not a signal on Linux.
        """
        from .calls import deliver_signal

        linux = linux_number(number)
        await deliver_signal(self._connection, await self._full_id(run_id), linux)

    async def stop(self, run_id: str, kill_after: float | None = None) -> Result:
        """Stop a run and everything it started: TERM, `kill_after` seconds of grace (default: the run's own), KILL.

        If it has ended, but has left processes running, these are stopped. Waits for the end, however long the grace
        is, and returns how the run ended. A cancellation gives up the waiting, not the stopping. Raises as `wait`.
        """
        grace = as_seconds(kill_after, "kill_after", positive=False)
        return await stop_run(self._connection, await self._full_id(run_id), grace)

    async def wait(self, run_id: str) -> Result:
        """Wait for the end of a run and return how it ended. None of its output is read.

        Raises `AmbiguousId`, `RequestRefused`, `ConnectionLost`, `SpawnError` if the program never started, ValueError.
        """
        return await wait_for_end(self._connection, await self._full_id(run_id))

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
        """Have the service wait for the first of these: a match of `pattern` (RE2 syntax, on bytes) in `stream` from
        `offset` on; `idle` seconds without output on that stream; the run's end; `timeout` seconds.

        The result's `reason` says which it was; `start` and `end` are the offsets of the match. Raises `AmbiguousId`,
        `RequestRefused` (`code` is `bad_pattern`, `bad_offset`, `unknown_run`, …), `ConnectionLost`, ValueError.
        """
        from .calls import wait_for

        return await wait_for(
            self._connection,
            await self._full_id(run_id),
            pattern=pattern,
            stream=stream,
            offset=offset,
            idle=idle,
            timeout=timeout,
        )

    async def ping(self) -> float:
        """Return the round-trip time to the service in seconds. Raises `ConnectionLost`."""
        return await self._connection.ping()

    async def status(self) -> m.ServiceStatus:
        """Return the state of the service itself: its runs, connections, and faults.

        Raises `ConnectionLost`, and `RequestRefused` if the service is too old to be asked.
        """
        from .calls import service_status

        return await service_status(self._connection, self.features, self.software)

    async def close(self) -> None:
        """Close forwards and the connection. The service stops runs that were started here, unless they are kept."""
        await self._close_forwards()
        await self._connection.close()

    def __repr__(self) -> str:
        return f"<Client of {self.user}@{self.host} ({self.name}), {self._connection.state}>"

    def __reduce__(self) -> NoReturn:
        raise not_picklable("a client")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _full_id(self, text: str) -> str:
        from .calls import full_id

        return await full_id(self._connection, text)
