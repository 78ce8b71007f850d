"""The API for scripts without asyncio: the same names, with blocking calls.

    with farhand_client.sync.connect("host") as client:
        client.run(["uname", "-a"])

Each object wraps the object of the asyncio API and runs its methods on an event loop in one thread per process, the
`LoopThread`. Objects may be used by several threads. Ctrl-C stops the run that a call waits for before
`KeyboardInterrupt` is raised.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Generator, Iterator
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Concatenate,
    Final,
    ParamSpec,
    Self,
    TypeAlias,
    cast,
)

from . import attach_request as _attach_request
from . import client as _client
from . import connector as _connector
from . import output as _output
from . import run as _run
from . import stdin as _stdin
from .errors import (
    AddressError,
    AmbiguousId,
    AuthenticationError,
    ConnectError,
    ConnectionLost,
    FarhandError,
    ForwardError,
    HostKeyChanged,
    HostKeyError,
    HostKeyRevoked,
    HostKeyUnknown,
    NotUsableHere,
    OutputIncomplete,
    RequestRefused,
    RunGoesOn,
    SpawnError,
    TransferError,
    TransferIncomplete,
    TransferInterrupted,
    TransferRefused,
    TunnelLost,
)
from .loop_thread import LoopThread, loop_thread
from .options import DEVNULL, PIPE, STDOUT
from .output import Chunk, Gap
from .results import CommandError, CommandTimeout, Completed, Result
from .sync_forwards import SyncForward, SyncForwardMethods
from .sync_wrapper import SyncWrapper, Wraps, in_loop, waiting

if TYPE_CHECKING:
    from farhand_protocol.outcome import Outcome

    from .files.transfer import Transfer
    from .sync_methods import AttachMethod, RunMethod, StartMethod
    from .transferred import Transferred

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "AddressError",
    "AmbiguousId",
    "AuthenticationError",
    "Chunk",
    "Client",
    "CommandError",
    "CommandTimeout",
    "Completed",
    "ConnectError",
    "ConnectionLost",
    "FarhandError",
    "Forward",
    "ForwardError",
    "Gap",
    "HostKeyChanged",
    "HostKeyError",
    "HostKeyRevoked",
    "HostKeyUnknown",
    "NotUsableHere",
    "OutputIncomplete",
    "RequestRefused",
    "Result",
    "Run",
    "RunGoesOn",
    "RunWithStdin",
    "SpawnError",
    "TransferError",
    "TransferIncomplete",
    "TransferInterrupted",
    "TransferRefused",
    "TunnelLost",
    "connect",
]

_P = ParamSpec("_P")


class SyncInputStream(SyncWrapper[_stdin.InputStream]):
    """A `farhand_client.stdin.InputStream` whose `write` waits until the bytes are sent."""

    _name = "a run's stdin"

    def write(self, data: _stdin.Buffer) -> None:
        """Send `data`. Raises BrokenPipeError if the run ends first, `ConnectionLost`, and ValueError after `close`."""

        async def write() -> None:
            self._inner.write(data)
            await self._inner.drain()

        self._loop_thread.call(write())

    close = in_loop(_stdin.InputStream.close)


class SyncOutputStream(SyncWrapper[_output.OutputStream]):
    """A `farhand_client.output.OutputStream` to loop over with `for`."""

    _name = "a run's output"

    read = waiting(_output.OutputStream.read)
    discard = in_loop(_output.OutputStream.discard)

    def __iter__(self) -> Iterator[bytes]:
        while chunks := self._loop_thread.call(self._inner.read_ready()):
            yield from chunks

    def lines(self, limit: int = _output.MAX_LINE_CHUNK) -> Iterator[bytes]:
        """Yield lines with their newline; a line longer than `limit` bytes is yielded in chunks of that size."""
        splitter = _output.LineSplitter(limit)
        for chunk in self:
            yield from splitter.feed(chunk)
        if rest := splitter.rest():
            yield rest


class SyncRun(SyncWrapper[_run.Run]):
    """A `farhand_client.run.Run` whose methods block. Leaving its context has the same effect as there."""

    _name = "a run"

    def __init__(self, inner: _run.Run, thread: LoopThread) -> None:
        super().__init__(inner, thread)
        self.id: Final = inner.id
        self.pid: Final = inner.pid
        self.new: Final = inner.new
        self._stdin = SyncInputStream(inner.stdin, thread) if inner.stdin is not None else None
        self.stdout: Final = SyncOutputStream(inner.stdout, thread)
        self.stderr: Final = SyncOutputStream(inner.stderr, thread) if inner.stderr is not None else None

    @property
    def stdin(self) -> SyncInputStream | None:
        """The run's stdin, if `stdin=PIPE` was given or an attachment asked to feed the run."""
        return self._stdin

    @property
    def result(self) -> Result | None:
        """How the run ended; None before that, and if it is unknown."""
        return self._inner.result

    @property
    def outcome(self) -> Outcome | None:
        """How the program ended; None before that, and if it is unknown."""
        return self._inner.outcome

    @property
    def returncode(self) -> int | None:
        """The exit code, or minus the signal's number; None as for `result`."""
        return self._inner.returncode

    @property
    def connected(self) -> bool:
        """Whether messages to the run are sent at once."""
        return self._inner.connected

    @property
    def kept(self) -> bool:
        """Whether the run continues without this client."""
        return self._inner.kept

    def output(
        self, offset: _attach_request.Offsets = 0, *, follow: bool = True, hold: bool = False
    ) -> Generator[Chunk | Gap, None, None]:
        """Do as `farhand_client.run.Run.output`. Leaving the loop early closes the generator, as does its `close`."""
        items = self._inner.output(offset, follow=follow, hold=hold)

        async def following() -> Chunk | Gap | None:
            return await anext(items, None)

        try:
            while (item := self._loop_thread.call(following())) is not None:
                yield item
        finally:
            if not self._loop_thread.in_child:
                self._loop_thread.call(items.aclose())

    wait = waiting(_run.Run.wait)
    wait_for = waiting(_run.Run.wait_for)
    stop = waiting(_run.Run.stop)
    send_signal = in_loop(_run.Run.send_signal)
    resize = in_loop(_run.Run.resize)
    terminate = in_loop(_run.Run.terminate)
    kill = in_loop(_run.Run.kill)
    detach = in_loop(_run.Run.detach)
    abandon = in_loop(_run.Run.abandon)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._loop_thread.in_child:
            self._loop_thread.call(self._inner.__aexit__(kind, error, traceback))


class SyncRunWithStdin(SyncRun):
    """A `SyncRun` that has a `stdin`."""

    @property
    def stdin(self) -> SyncInputStream:
        """The run's stdin."""
        assert self._stdin is not None
        return self._stdin


def _starting(
    method: Callable[Concatenate[_client.Client, _P], Coroutine[Any, Any, _run.Run]],
) -> Callable[Concatenate[Wraps[_client.Client], _P], Run]:
    @functools.wraps(method)
    def call(self: Wraps[_client.Client], /, *args: _P.args, **kwargs: _P.kwargs) -> SyncRun:
        inner = self._loop_thread.call(method(self._inner, *args, **kwargs))
        kind = SyncRun if inner.stdin is None else SyncRunWithStdin
        return kind(inner, self._loop_thread)

    return call


def _starting_with_stdin(
    method: Callable[Concatenate[_client.Client, _P], Coroutine[Any, Any, _run.RunWithStdin]],
) -> Callable[Concatenate[Wraps[_client.Client], _P], RunWithStdin]:
    @functools.wraps(method)
    def call(self: Wraps[_client.Client], /, *args: _P.args, **kwargs: _P.kwargs) -> SyncRunWithStdin:
        return SyncRunWithStdin(self._loop_thread.call(method(self._inner, *args, **kwargs)), self._loop_thread)

    return call


def _transferring(
    method: Callable[Concatenate[_client.Client, _P], Transfer],
) -> Callable[Concatenate[Wraps[_client.Client], _P], Transferred]:
    @functools.wraps(method)
    def call(self: Wraps[_client.Client], /, *args: _P.args, **kwargs: _P.kwargs) -> Transferred:
        return self._loop_thread.call(method(self._inner, *args, **kwargs))

    return call


class SyncClient(SyncForwardMethods):
    """A `farhand_client.client.Client` whose methods block."""

    _name = "a client"

    def __init__(self, inner: _client.Client, thread: LoopThread) -> None:
        super().__init__(inner, thread)
        self.name: Final = inner.name
        self.user: Final = inner.user
        self.host: Final = inner.host
        self.software: Final = inner.software
        self.version: Final = inner.version
        self.features: Final = inner.features

    run: ClassVar = cast("RunMethod", waiting(_client.Client.run))
    start: ClassVar = cast("StartMethod[SyncRun, SyncRunWithStdin]", _starting(_client.Client.start))
    shell = _starting_with_stdin(_client.Client.shell)
    attach: ClassVar = cast("AttachMethod[SyncRun, SyncRunWithStdin]", _starting(_client.Client.attach))
    put = _transferring(_client.Client.put)
    get = _transferring(_client.Client.get)
    sync = _transferring(_client.Client.sync)
    ping = waiting(_client.Client.ping)
    status = waiting(_client.Client.status)
    recording = waiting(_client.Client.recording)
    runs = waiting(_client.Client.runs)
    info = waiting(_client.Client.info)
    signal = waiting(_client.Client.signal)
    stop = waiting(_client.Client.stop)
    wait = waiting(_client.Client.wait)
    wait_for = waiting(_client.Client.wait_for)

    def close(self) -> None:
        """Do as `farhand_client.client.Client.close`. A forked child does nothing: its parent has the connection."""
        if not self._loop_thread.in_child:
            self._loop_thread.call(self._inner.close())

    @property
    def connected(self) -> bool:
        """Whether there is a connection now; False during an outage, after the end, and in a forked child."""
        return self._inner.connected

    @property
    def going_away(self) -> bool:
        """Whether the service has announced its shutdown; it accepts no new runs then."""
        return self._inner.going_away

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _connecting(
    connect: Callable[_P, Coroutine[Any, Any, _client.Client]],
) -> Callable[_P, SyncClient]:
    @functools.wraps(connect)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> SyncClient:
        thread = loop_thread()
        return SyncClient(thread.call(connect(*args, **kwargs)), thread)

    return call


connect = _connecting(_connector.connect)

# The names that this module shares with `farhand_client`.
Client: TypeAlias = SyncClient
Forward: TypeAlias = SyncForward
Run: TypeAlias = SyncRun
RunWithStdin: TypeAlias = SyncRunWithStdin
