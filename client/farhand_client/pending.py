"""What `connect` and `start` return: to be awaited, or entered as an async context manager, as one likes."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar


class AsyncContext(Protocol):
    """An object that knows how to end itself."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...


T = TypeVar("T", bound=AsyncContext)


class Pending(Coroutine[Any, Any, T], Generic[T]):
    """`x = await pending` and `async with pending as x:` both work; tasks take it as the coroutine it is."""

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._value: T | None = None

    def __await__(self) -> Generator[Any, Any, T]:
        return self._coroutine.__await__()

    async def __aenter__(self) -> T:
        self._value = await self._coroutine
        return self._value

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._value is not None
        await self._value.__aexit__(kind, error, traceback)

    def send(self, value: Any) -> Any:
        """Coroutine."""
        return self._coroutine.send(value)

    def throw(self, *args: Any) -> Any:
        """Coroutine."""
        return self._coroutine.throw(*args)

    def close(self) -> None:
        """Coroutine."""
        self._coroutine.close()
