"""The API for scripts without asyncio: the same names, and calls that wait.

with farhand_client.sync.connect("host") as client:
    client.run(["uname", "-a"])

Objects may be used by several threads. Ctrl-C stops the run that a call waits for before `KeyboardInterrupt` is raised.
"""

from __future__ import annotations

import asyncio
import functools
import os
import threading
from collections.abc import Callable, Coroutine, Generator, Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, Protocol, Self, TypeAlias, TypeVar

from . import client as _client
from . import connector as _connector
from . import output as _output
from . import run as _run
from . import stdin as _stdin
from .errors import (
    AddressError,
    AmbiguousId,
    AuthenticationError,
    CommandError,
    CommandTimeout,
    ConnectError,
    ConnectionLost,
    FarhandError,
    HostKeyChanged,
    HostKeyError,
    HostKeyRevoked,
    HostKeyUnknown,
    OutputIncomplete,
    RequestRefused,
    RunGoesOn,
    SpawnError,
)
from .options import DEVNULL, PIPE
from .output import Chunk, Gap
from .results import Completed, Result

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
    "OutputIncomplete",
    "RequestRefused",
    "Result",
    "Run",
    "RunGoesOn",
    "SpawnError",
    "connect",
]

T = TypeVar("T")

CANCEL_TIMEOUT: Final = 20.0
"""Seconds an interrupted call may take to end what it had begun: a stop's default grace and its margin are 15."""


class LoopThread:
    """Runs coroutines for other threads. The thread is a daemon: a script's end does not wait for it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="farhand", daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return what `coroutine` does, or raise it.

        Where the waiting is interrupted, as by Ctrl-C, the coroutine is cancelled and may end what it had begun before
        the interrupt is raised; a second one is raised at once.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("this would wait for itself: use the asyncio API inside of coroutines")
        future: Future[T] = Future()
        tasks: list[asyncio.Task[None]] = []

        def begin() -> None:
            tasks.append(self._loop.create_task(_into(future, coroutine)))

        self._loop.call_soon_threadsafe(begin)
        try:
            return future.result()
        except BaseException:
            if not future.done():
                self._loop.call_soon_threadsafe(lambda: tasks[0].cancel())
                _wait(future)
            raise


async def _into(future: Future[T], coroutine: Coroutine[Any, Any, T]) -> None:
    try:
        future.set_result(await coroutine)
    except BaseException as error:
        future.set_exception(error)
        if not isinstance(error, Exception | asyncio.CancelledError):
            raise


def _wait(future: Future[Any]) -> None:
    try:
        future.exception(timeout=CANCEL_TIMEOUT)
    except TimeoutError:
        return


_loop_threads: Final[dict[int, LoopThread]] = {}
_lock: Final = threading.Lock()


def loop_thread() -> LoopThread:
    """Return this process's loop thread; a forked child gets one of its own, for threads do not survive a fork."""
    with _lock:
        found = _loop_threads.get(os.getpid())
        if found is None:
            found = _loop_threads[os.getpid()] = LoopThread()
        return found


P = ParamSpec("P")
R = TypeVar("R")
Inner = TypeVar("Inner")


class _Wraps(Protocol[Inner]):
    _inner: Inner
    _loop_thread: LoopThread


def _waiting(
    method: Callable[Concatenate[Inner, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[_Wraps[Inner], P], R]:
    @functools.wraps(method)
    def call(self: _Wraps[Inner], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._loop_thread.call(method(self._inner, *args, **kwargs))

    return call


def _in_loop(method: Callable[Concatenate[Inner, P], R]) -> Callable[Concatenate[_Wraps[Inner], P], R]:
    @functools.wraps(method)
    def call(self: _Wraps[Inner], /, *args: P.args, **kwargs: P.kwargs) -> R:
        async def inner() -> R:
            return method(self._inner, *args, **kwargs)

        return self._loop_thread.call(inner())

    return call


class SyncInputStream:
    """`farhand_client.stdin.InputStream`; `write` waits until the service takes the bytes."""

    def __init__(self, inner: _stdin.InputStream, thread: LoopThread) -> None:
        self._inner = inner
        self._loop_thread = thread

    def write(self, data: _stdin.Buffer) -> None:
        """Send `data`. Raises BrokenPipeError where the run ends first, `ConnectionLost`, ValueError after `close`."""

        async def write() -> None:
            self._inner.write(data)
            await self._inner.drain()

        self._loop_thread.call(write())

    close = _in_loop(_stdin.InputStream.close)


class SyncOutputStream:
    """`farhand_client.output.OutputStream`, with `for` instead of `async for`."""

    def __init__(self, inner: _output.OutputStream, thread: LoopThread) -> None:
        self._inner = inner
        self._loop_thread = thread

    read = _waiting(_output.OutputStream.read)
    discard = _in_loop(_output.OutputStream.discard)

    def __iter__(self) -> Iterator[bytes]:
        while chunks := self._loop_thread.call(self._inner.read_ready()):
            yield from chunks

    def lines(self, limit: int = _output.MAX_LINE_CHUNK) -> Iterator[bytes]:
        """Give lines with their newline; one longer than `limit` bytes comes in pieces of that size."""
        splitter = _output.LineSplitter(limit)
        for chunk in self:
            yield from splitter.feed(chunk)
        if rest := splitter.rest():
            yield rest


class SyncRun:
    """`farhand_client.run.Run`, whose methods wait. Leaving its context does what it does there."""

    def __init__(self, inner: _run.Run, thread: LoopThread) -> None:
        self._inner = inner
        self._loop_thread = thread
        self.id: Final = inner.id
        self.pid: Final = inner.pid
        self.new: Final = inner.new
        self.stdin: Final = SyncInputStream(inner.stdin, thread) if inner.stdin is not None else None
        self.stdout: Final = SyncOutputStream(inner.stdout, thread)
        self.stderr: Final = SyncOutputStream(inner.stderr, thread) if inner.stderr is not None else None

    @property
    def result(self) -> Result | None:
        """How the run ended; None while it goes on, or where that is not known."""
        return self._inner.result

    @property
    def outcome(self) -> Outcome | None:
        """How the program ended; None while it goes on, or where that is not known."""
        return self._inner.outcome

    @property
    def returncode(self) -> int | None:
        """As `subprocess.Popen.returncode`."""
        return self._inner.returncode

    @property
    def connected(self) -> bool:
        """Whether what is said to the run leaves now."""
        return self._inner.connected

    @property
    def kept(self) -> bool:
        """Whether the run goes on without this client."""
        return self._inner.kept

    def output(
        self, offset: _run.Offsets = 0, *, follow: bool = True, hold: bool = False
    ) -> Generator[Chunk | Gap, None, None]:
        """As `farhand_client.run.Run.output`; leaving the loop early closes the generator, or `close` does."""
        pieces = self._inner.output(offset, follow=follow, hold=hold)

        async def following() -> Chunk | Gap | None:
            return await anext(pieces, None)

        try:
            while (piece := self._loop_thread.call(following())) is not None:
                yield piece
        finally:
            self._loop_thread.call(pieces.aclose())

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
        self._loop_thread.call(self._inner.__aexit__(kind, error, traceback))


def _starting(
    method: Callable[Concatenate[_client.Client, P], Coroutine[Any, Any, _run.Run]],
) -> Callable[Concatenate[_Wraps[_client.Client], P], Run]:
    @functools.wraps(method)
    def call(self: _Wraps[_client.Client], /, *args: P.args, **kwargs: P.kwargs) -> SyncRun:
        return SyncRun(self._loop_thread.call(method(self._inner, *args, **kwargs)), self._loop_thread)

    return call


class SyncClient:
    """`farhand_client.client.Client`, whose methods wait."""

    def __init__(self, inner: _client.Client, thread: LoopThread) -> None:
        self._inner = inner
        self._loop_thread = thread
        self.name: Final = inner.name
        self.user: Final = inner.user
        self.host: Final = inner.host
        self.software: Final = inner.software
        self.version: Final = inner.version
        self.features: Final = inner.features

    run = _waiting(_client.Client.run)
    ping = _waiting(_client.Client.ping)
    close = _waiting(_client.Client.close)
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

    @property
    def connected(self) -> bool:
        """Whether there is a connection now; False while a lost one is made again, and at the end."""
        return self._inner.connected

    @property
    def going_away(self) -> bool:
        """Whether the service has said that it shuts down: it takes no new runs."""
        return self._inner.going_away

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _connecting(
    connect: Callable[P, Coroutine[Any, Any, _client.Client]],
) -> Callable[P, SyncClient]:
    @functools.wraps(connect)
    def call(*args: P.args, **kwargs: P.kwargs) -> SyncClient:
        found = loop_thread()
        return SyncClient(found.call(connect(*args, **kwargs)), found)

    return call


connect = _connecting(_connector.connect)

# The names that this module shares with `farhand_client`.
Client: TypeAlias = SyncClient
Run: TypeAlias = SyncRun
