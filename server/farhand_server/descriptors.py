"""Descriptors in reserve, for what must be done although the process or the system has no others left.

A run's end needs some for a moment each: to find its processes, to kill and count them. Clients and other runs may hold
all of them just then. What needs descriptors for longer has to do without them, or to wait.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

RESERVED: Final = 4
"""Descriptors in reserve. Nothing that uses them needs more than two at the same time; another thread may take one."""

EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors that say that the process or the system has no descriptors left, or no memory for them."""


def check_descriptors() -> None:
    """Raise OSError if this process can open no file. The C library then finds no account and no group, and does not
    say why."""
    os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))


class DescriptorReserve:
    """Some descriptors that are open for no other purpose. For one thread only."""

    def __init__(self) -> None:
        self._size = 0
        self._held: list[int] = []

    def keep(self, size: int = RESERVED) -> None:
        """Keep this many from now on."""
        self._size = size
        self.fill()

    def fill(self) -> None:
        """Open what is missing, as far as possible."""
        try:
            while len(self._held) < self._size:
                # Not a duplicate: the system counts open files.
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            pass  # the next use tries again

    def close(self) -> None:
        """Keep none any more."""
        self._size = 0
        while self._held:
            os.close(self._held.pop())

    def spend(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return what `call` returns, which needs descriptors, but only until it returns.

        If there are none, it is called again with some of the reserve. Raises its OSError if that does not suffice.
        """
        while True:
            try:
                result = call(*args, **kwargs)
            except OSError as error:
                if error.errno not in EXHAUSTED or not self._held:
                    self.fill()
                    raise
                os.close(self._held.pop())
                continue
            if len(self._held) < self._size:
                self.fill()
            return result


reserve: Final = DescriptorReserve()
"""The reserve of this process's main thread. It is empty until somebody calls `keep`."""
