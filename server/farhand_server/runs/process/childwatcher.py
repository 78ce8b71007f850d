"""Hooks into asyncio, so that the service can reap its children itself.

`loop.subprocess_exec` hands each child to a child watcher as soon as the child runs, before yielding to the loop
(`_make_subprocess_transport` in asyncio/unix_events.py; the same from 3.11 to 3.14). The watcher reports the exit
through a callback. Up to 3.13 the watcher belongs to the event loop policy; from 3.14 on each loop has its own.

The hook is needed because asyncio, even with plain descriptors for stdin, stdout and stderr, reaps the child itself
with waitpid(2). That loses what wait4(2) reports, and races with the reaping of orphans. It also lets the start of a
leader end as soon as the leader runs, without another turn of the loop.
"""

from __future__ import annotations

import asyncio
import sys
import warnings
from collections.abc import Callable
from typing import Any, TypeVarTuple

_Ts = TypeVarTuple("_Ts")

Take = Callable[[int, tuple[Any, ...]], None]
"""A function that is offered each child. Its arguments are the pid, and the further arguments of asyncio's callback:
the child's transport. To take the child, it raises an exception, with which `loop.subprocess_exec` then ends. If it
returns, asyncio waits for the child."""

Reaped = Callable[[int], object]
"""A function that is called with the pid of a child for which asyncio has waited."""


def _calling(reaped: Reaped, callback: Callable[[int, int, *_Ts], object]) -> Callable[[int, int, *_Ts], None]:
    """Return a callback that calls `reaped` first."""

    def ended(pid: int, code: int, *args: *_Ts) -> None:
        reaped(pid)
        callback(pid, code, *args)

    return ended


if sys.version_info >= (3, 14):

    class _Watcher:
        """Wraps the loop's watcher. asyncio calls only this method."""

        def __init__(self, take: Take, reaped: Reaped, others: Any) -> None:
            self._take = take
            self._reaped = reaped
            self._others = others

        def add_child_handler(self, pid: int, callback: Callable[..., object], *args: Any) -> None:
            self._take(pid, args)
            self._others.add_child_handler(pid, _calling(self._reaped, callback), *args)

    def install(take: Take, reaped: Reaped) -> None:
        """Offer the children of the running loop to `take`, and report to `reaped` those that it has not taken.

        Raises RuntimeError if asyncio has no such hook.
        """
        attributes = vars(asyncio.get_running_loop())
        if not hasattr(attributes.get("_watcher"), "add_child_handler"):
            raise RuntimeError("the event loop of this Python has no child watcher; the service runs on asyncio's own")
        attributes["_watcher"] = _Watcher(take, reaped, attributes["_watcher"])

else:
    with warnings.catch_warnings():
        # Deprecated since 3.12 without a replacement: there is no other way to wait for asyncio's children with
        # wait4(2).
        warnings.simplefilter("ignore", DeprecationWarning)

        class _Watcher(asyncio.PidfdChildWatcher):
            """Uses pidfds for all other children, because the default on 3.11 is a thread for each child."""

            def __init__(self, take: Take, reaped: Reaped) -> None:
                super().__init__()
                self._take = take
                self._reaped = reaped

            def add_child_handler(self, pid: int, callback: Callable[[int, int, *_Ts], object], *args: *_Ts) -> None:
                self._take(pid, args)
                super().add_child_handler(pid, _calling(self._reaped, callback), *args)

    def install(take: Take, reaped: Reaped) -> None:
        """Offer the children of the running loop to `take`, and report to `reaped` those that it has not taken."""
        watcher = _Watcher(take, reaped)
        watcher.attach_loop(asyncio.get_running_loop())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # as above
            asyncio.set_child_watcher(watcher)
