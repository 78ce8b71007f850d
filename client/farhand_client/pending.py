"""What `connect`, `start` and `attach` return: to be awaited, or entered as an async context manager."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from types import TracebackType
from typing import Any, Generic, NoReturn, Protocol, Self, TypeVar

from .home_loop import not_picklable


class AsyncContext(Protocol):
    """An async context manager that enters as itself."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...


_T_co = TypeVar("_T_co", bound=AsyncContext, covariant=True)


class Pending(Coroutine[Any, Any, _T_co], Generic[_T_co]):
    """A coroutine that is also an async context manager: `x = await pending` and `async with pending as x:` both work.

    It can be used once. As a real coroutine it is accepted by `asyncio.create_task`.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, _T_co]) -> None:
        self._coroutine = coroutine
        self._value: _T_co | None = None

    def __await__(self) -> Generator[Any, Any, _T_co]:
        return self._coroutine.__await__()

    async def __aenter__(self) -> _T_co:
        self._value = await self._coroutine
        return self._value

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._value is not None
        await self._value.__aexit__(kind, error, traceback)

    def __repr__(self) -> str:
        return "<Pending: await it, or enter it with async with>"

    def __reduce__(self) -> NoReturn:
        raise not_picklable("what connect, start and attach return")

    # Implements Coroutine.

    def send(self, value: Any) -> Any:
        return self._coroutine.send(value)

    def throw(self, *args: Any) -> Any:
        return self._coroutine.throw(*args)

    def close(self) -> None:
        self._coroutine.close()
