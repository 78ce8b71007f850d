"""Whether the cost of a function grows as its input does."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import TypeVar

Input = TypeVar("Input")

MAX_RATIO = 30
"""Ten times the input may cost so many times as much on a busy machine; a quadratic algorithm takes 100 times."""


def assert_linear(work: Callable[[Input], object], make: Callable[[int], Input], size: int) -> None:
    """Assert that `work` costs about ten times as much for `make(10 * size)` as for `make(size)`.

    Times are of the processor, and the best of a few attempts: other processes make some of them slower.
    """
    small, large = make(size), make(10 * size)
    work(small)
    for _ in range(5):
        ratio = min(_seconds(work, large) for _ in range(2)) / max(min(_seconds(work, small) for _ in range(5)), 1e-4)
        if ratio < MAX_RATIO:
            return
    raise AssertionError(f"ten times the input costs {ratio:.0f} times as much")


def _seconds(work: Callable[[Input], object], value: Input) -> float:
    gc.disable()  # a collection looks at every object of the whole test suite
    try:
        began = time.thread_time()
        work(value)
        return time.thread_time() - began
    finally:
        gc.enable()
