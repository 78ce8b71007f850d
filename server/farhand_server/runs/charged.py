"""Measures how long a coroutine holds the event loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

_Result = TypeVar("_Result")


class Charged(Generic[_Result]):
    """Awaits a coroutine, and calls `spend` with the seconds of each of its steps, from one wait to the next."""

    def __init__(self, coroutine: Coroutine[Any, Any, _Result], spend: Callable[[float], None]) -> None:
        self._coroutine = coroutine
        self._spend = spend

    def __await__(self) -> Generator[Any, None, _Result]:
        error: BaseException | None = None
        while True:
            began = time.monotonic()
            try:
                awaited = self._coroutine.send(None) if error is None else self._coroutine.throw(error)
            except StopIteration as end:
                result: _Result = end.value
                return result
            finally:
                self._spend(time.monotonic() - began)
            error = None
            try:
                yield awaited
            except BaseException as thrown:  # noqa: BLE001  # it belongs to the coroutine
                error = thrown
