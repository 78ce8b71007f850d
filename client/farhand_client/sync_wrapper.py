"""What every object of the blocking API has: one of the asyncio API, and the thread in which its methods run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Concatenate, Generic, NoReturn, ParamSpec, Protocol, TypeVar

from .home_loop import not_picklable
from .loop_thread import LoopThread

_P = ParamSpec("_P")
_R = TypeVar("_R")
_Inner = TypeVar("_Inner")


class Wraps(Protocol[_Inner]):
    """A `SyncWrapper`, as its methods see it."""

    _inner: _Inner
    _loop_thread: LoopThread


def waiting(
    method: Callable[Concatenate[_Inner, _P], Coroutine[Any, Any, _R]],
) -> Callable[Concatenate[Wraps[_Inner], _P], _R]:
    """Return the method of a wrapper that runs a coroutine method to its end."""

    @functools.wraps(method)
    def call(self: Wraps[_Inner], /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        return self._loop_thread.call(method(self._inner, *args, **kwargs))

    return call


def in_loop(method: Callable[Concatenate[_Inner, _P], _R]) -> Callable[Concatenate[Wraps[_Inner], _P], _R]:
    """Return the method of a wrapper that calls a method in the event loop."""

    @functools.wraps(method)
    def call(self: Wraps[_Inner], /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        async def inner() -> _R:
            return method(self._inner, *args, **kwargs)

        return self._loop_thread.call(inner())

    return call


class SyncWrapper(Generic[_Inner]):
    """An object of the asyncio API, and the thread in which its methods run."""

    _name: ClassVar[str]

    def __init__(self, inner: _Inner, thread: LoopThread) -> None:
        self._inner = inner
        self._loop_thread = thread

    def __repr__(self) -> str:
        return f"<blocking {repr(self._inner)[1:]}"

    def __reduce__(self) -> NoReturn:
        raise not_picklable(self._name)
