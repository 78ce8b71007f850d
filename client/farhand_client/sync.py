"""The API for scripts without asyncio: the same names, with blocking calls.

    with farhand_client.sync.connect("host") as client:
        client.run(["uname", "-a"])

Each object wraps the object of the asyncio API and runs its methods on an event loop in one thread per process, the
`LoopThread`. Objects may be used by several threads. Ctrl-C stops the run that a call waits for before
`KeyboardInterrupt` is raised.
"""

from __future__ import annotations

import asyncio
import functools
import os
import threading
from collections.abc import Callable, Coroutine, Generator, Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Concatenate,
    Final,
    Generic,
    NoReturn,
    ParamSpec,
    Protocol,
    Self,
    TypeAlias,
    TypeVar,
)

from . import client as _client
from . import connector as _connector
from . import options as _options
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
    HostKeyChanged,
    HostKeyError,
    HostKeyRevoked,
    HostKeyUnknown,
    NotUsableHere,
    OutputIncomplete,
    RequestRefused,
    RunGoesOn,
    SpawnError,
)
from .home_loop import IN_CHILD, not_picklable
from .options import DEVNULL, PIPE
from .output import Chunk, Gap
from .results import CommandError, CommandTimeout, Completed, Result

if TYPE_CHECKING:
    from farhand_protocol.outcome import Outcome

__all__ = [
    "DEVNULL",
    "PIPE",
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
    "SpawnError",
    "connect",
]

_T = TypeVar("_T")

CANCEL_TIMEOUT: Final = 20.0
"""Seconds that an interrupted call may take to clean up: a stop takes up to 15, its default grace and its margin."""


class LoopThread:
    """An event loop in a thread of its own, which runs coroutines for other threads.

    The thread is a daemon: the end of a script does not wait for it.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="farhand", daemon=True)
        self._thread.start()

    @property
    def in_child(self) -> bool:
        """Whether this is a forked child of the process whose thread this is: it has not got the thread."""
        return os.getpid() != self._pid

    def call(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run `coroutine` on the loop and return its result, or raise its error.

        If the waiting is interrupted, for example by Ctrl-C, the coroutine is cancelled and may clean up for
        `CANCEL_TIMEOUT` before the interrupt is raised; a second interrupt is raised at once.
        """
        if self.in_child:
            coroutine.close()
            raise NotUsableHere(f"this object was made in process {self._pid}; {IN_CHILD}")
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise NotUsableHere("this call would wait for itself; use the asyncio API inside coroutines")
        future: Future[_T] = Future()
        tasks: list[asyncio.Task[None]] = []

        def begin() -> None:
            tasks.append(self._loop.create_task(_settle(future, coroutine)))

        self._loop.call_soon_threadsafe(begin)
        try:
            return future.result()
        except BaseException:
            if not future.done():
                self._loop.call_soon_threadsafe(lambda: tasks[0].cancel())
                _await_cleanup(future)
            raise


async def _settle(future: Future[_T], coroutine: Coroutine[Any, Any, _T]) -> None:
    try:
        future.set_result(await coroutine)
    except BaseException as error:
        future.set_exception(error)
        if not isinstance(error, Exception | asyncio.CancelledError):
            raise


def _await_cleanup(future: Future[Any]) -> None:
    try:
        future.exception(timeout=CANCEL_TIMEOUT)
    except TimeoutError:
        return


_loop_threads: Final[dict[int, LoopThread]] = {}
_lock = threading.Lock()


def loop_thread() -> LoopThread:
    """Return this process's loop thread. A forked child gets one of its own, because threads do not survive a fork."""
    with _lock:
        found = _loop_threads.get(os.getpid())
        if found is None:
            found = _loop_threads[os.getpid()] = LoopThread()
        return found


def _renew_lock() -> None:
    """Replace the lock in a forked child: another thread of the parent may have held it."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)

_P = ParamSpec("_P")
_R = TypeVar("_R")
_Inner = TypeVar("_Inner")


class _Wraps(Protocol[_Inner]):
    _inner: _Inner
    _loop_thread: LoopThread


def _waiting(
    method: Callable[Concatenate[_Inner, _P], Coroutine[Any, Any, _R]],
) -> Callable[Concatenate[_Wraps[_Inner], _P], _R]:
    @functools.wraps(method)
    def call(self: _Wraps[_Inner], /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        return self._loop_thread.call(method(self._inner, *args, **kwargs))

    return call


def _in_loop(method: Callable[Concatenate[_Inner, _P], _R]) -> Callable[Concatenate[_Wraps[_Inner], _P], _R]:
    @functools.wraps(method)
    def call(self: _Wraps[_Inner], /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        async def inner() -> _R:
            return method(self._inner, *args, **kwargs)

        return self._loop_thread.call(inner())

    return call


class _Wrapper(Generic[_Inner]):
    """An object of the asyncio API, and the thread in which its methods run."""

    _name: ClassVar[str]

    def __init__(self, inner: _Inner, thread: LoopThread) -> None:
        self._inner = inner
        self._loop_thread = thread

    def __reduce__(self) -> NoReturn:
        raise not_picklable(self._name)


class SyncInputStream(_Wrapper[_stdin.InputStream]):
    """A `farhand_client.stdin.InputStream` whose `write` waits until the bytes are sent."""

    _name = "a run's stdin"

    def write(self, data: _stdin.Buffer) -> None:
        """Send `data`. Raises BrokenPipeError if the run ends first, `ConnectionLost`, and ValueError after `close`."""

        async def write() -> None:
            self._inner.write(data)
            await self._inner.drain()

        self._loop_thread.call(write())

    close = _in_loop(_stdin.InputStream.close)


class SyncOutputStream(_Wrapper[_output.OutputStream]):
    """A `farhand_client.output.OutputStream` to loop over with `for`."""

    _name = "a run's output"

    read = _waiting(_output.OutputStream.read)
    discard = _in_loop(_output.OutputStream.discard)

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


class SyncRun(_Wrapper[_run.Run]):
    """A `farhand_client.run.Run` whose methods block. Leaving its context has the same effect as there."""

    _name = "a run"

    def __init__(self, inner: _run.Run, thread: LoopThread) -> None:
        super().__init__(inner, thread)
        self.id: Final = inner.id
        self.pid: Final = inner.pid
        self.new: Final = inner.new
        self.stdin: Final = SyncInputStream(inner.stdin, thread) if inner.stdin is not None else None
        self.stdout: Final = SyncOutputStream(inner.stdout, thread)
        self.stderr: Final = SyncOutputStream(inner.stderr, thread) if inner.stderr is not None else None

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
        self, offset: _options.Offsets = 0, *, follow: bool = True, hold: bool = False
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

    wait = _waiting(_run.Run.wait)
    wait_for = _waiting(_run.Run.wait_for)
    stop = _waiting(_run.Run.stop)
    send_signal = _in_loop(_run.Run.send_signal)
    resize = _in_loop(_run.Run.resize)
    terminate = _in_loop(_run.Run.terminate)
    kill = _in_loop(_run.Run.kill)
    detach = _in_loop(_run.Run.detach)
    abandon = _in_loop(_run.Run.abandon)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._loop_thread.in_child:
            self._loop_thread.call(self._inner.__aexit__(kind, error, traceback))


def _starting(
    method: Callable[Concatenate[_client.Client, _P], Coroutine[Any, Any, _run.Run]],
) -> Callable[Concatenate[_Wraps[_client.Client], _P], Run]:
    @functools.wraps(method)
    def call(self: _Wraps[_client.Client], /, *args: _P.args, **kwargs: _P.kwargs) -> SyncRun:
        return SyncRun(self._loop_thread.call(method(self._inner, *args, **kwargs)), self._loop_thread)

    return call


class SyncClient(_Wrapper[_client.Client]):
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

    run = _waiting(_client.Client.run)
    ping = _waiting(_client.Client.ping)
    start = _starting(_client.Client.start)
    shell = _starting(_client.Client.shell)
    attach = _starting(_client.Client.attach)
    recording = _waiting(_client.Client.recording)
    runs = _waiting(_client.Client.runs)
    info = _waiting(_client.Client.info)
    signal = _waiting(_client.Client.signal)
    stop = _waiting(_client.Client.stop)
    wait = _waiting(_client.Client.wait)
    wait_for = _waiting(_client.Client.wait_for)

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
Run: TypeAlias = SyncRun
