"""asyncio's hook for those who wait for its children themselves.

`loop.subprocess_exec` hands each child, once it runs and before it first suspends, to a child watcher
(`_make_subprocess_transport` in asyncio/unix_events.py, the same in this from 3.11 to 3.14), and is told of the exit by
the callback that comes with it. Up to 3.13 the watcher is the policy's; from 3.14 on each loop has one of its own.
"""

from __future__ import annotations

import asyncio
import sys
import types
import warnings
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar, TypeVarTuple

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

Take = Callable[[int, Callable[..., object], tuple[Any, ...]], bool]
"""Takes a child: its pid, the callback to be called with pid, exit code and then the rest. False: let asyncio wait."""


if sys.version_info >= (3, 14):

    class _Watcher:
        """Stands before the loop's own watcher, of which asyncio calls nothing but this one method."""

        def __init__(self, take: Take, others: Any) -> None:
            self._take = take
            self._others = others

        def add_child_handler(self, pid: int, callback: Callable[..., object], *args: Any) -> None:
            if not self._take(pid, callback, args):
                self._others.add_child_handler(pid, callback, *args)

    def install(take: Take) -> None:
        """Offer the children of the running loop to `take`. Raises RuntimeError where asyncio does not let us."""
        attributes = vars(asyncio.get_running_loop())
        if not hasattr(attributes.get("_watcher"), "add_child_handler"):
            raise RuntimeError("the event loop of this Python has no child watcher; the service runs on asyncio's own")
        attributes["_watcher"] = _Watcher(take, attributes["_watcher"])

else:
    with warnings.catch_warnings():
        # Deprecated from 3.12 on, with nothing in its place: there is no other way to wait for asyncio's children
        # by wait4(2).
        warnings.simplefilter("ignore", DeprecationWarning)

        class _Watcher(asyncio.PidfdChildWatcher):
            """Pidfds for the children of others: asyncio's default on 3.11 is a thread for each."""

            def __init__(self, take: Take) -> None:
                super().__init__()
                self._take = take

            def add_child_handler(self, pid: int, callback: Callable[[int, int, *_Ts], object], *args: *_Ts) -> None:
                if not self._take(pid, callback, args):
                    super().add_child_handler(pid, callback, *args)

    def install(take: Take) -> None:
        """Offer the children of the running loop to `take`."""
        watcher = _Watcher(take)
        watcher.attach_loop(asyncio.get_running_loop())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # as above
            asyncio.set_child_watcher(watcher)


@types.coroutine
def unless_cancelled(
    starting: Coroutine[Any, Any, _T], stopped: Callable[[], Coroutine[Any, Any, None]]
) -> Generator[Any, None, _T]:
    """Await a start; a cancellation waits for `stopped`, before the start itself hears of it.

    `loop.subprocess_exec` by itself waits for the exit of the program then, and on 3.11 for ever where the task by
    which it prepares pipes has been cancelled as well.
    """
    reason: BaseException | None = None
    while True:
        try:
            wanted = starting.send(None) if reason is None else starting.throw(reason)
        except StopIteration as returned:
            result: _T = returned.value
            return result
        reason = None
        try:
            yield wanted
        except asyncio.CancelledError as error:
            yield from stopped().__await__()
            reason = error
        except BaseException as error:  # noqa: BLE001  # it is passed on
            reason = error
