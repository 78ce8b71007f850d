"""Hooks into asyncio, so that the service can reap its children itself.

`loop.subprocess_exec` hands each child to a child watcher as soon as the child runs, before yielding to the loop
(`_make_subprocess_transport` in asyncio/unix_events.py; the same from 3.11 to 3.14). The watcher reports the exit
through a callback. Up to 3.13 the watcher belongs to the event loop policy; from 3.14 on each loop has its own.

The hook is needed because asyncio, even with plain descriptors for stdin, stdout and stderr, reaps the child itself
with waitpid(2). That loses what wait4(2) reports, and races with the reaping of orphans. CPU time for starting
/bin/true until it is reaped, compared with calling `Popen` directly, which is the lower bound because asyncio calls it
as well (the best of 7 rounds of 400, on 2 busy cores):

                    one at a time                     16 at a time
    Python 3.11     433 µs, without asyncio 325 µs    369 µs, without asyncio 276 µs
    Python 3.12     584 µs, without asyncio 443 µs    525 µs, without asyncio 512 µs
    Python 3.13     585 µs, without asyncio 485 µs    626 µs, without asyncio 440 µs
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
"""A function that may accept a child. Its arguments are the pid, the callback to call at the exit with the pid, the
exit code and further arguments, and these further arguments. If it returns False, asyncio waits for the child."""

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
            if not self._take(pid, callback, args):
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
                if not self._take(pid, callback, args):
                    super().add_child_handler(pid, _calling(self._reaped, callback), *args)

    def install(take: Take, reaped: Reaped) -> None:
        """Offer the children of the running loop to `take`, and report to `reaped` those that it has not taken."""
        watcher = _Watcher(take, reaped)
        watcher.attach_loop(asyncio.get_running_loop())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # as above
            asyncio.set_child_watcher(watcher)


@types.coroutine
def unless_cancelled(
    starting: Coroutine[Any, Any, _T], stopped: Callable[[], Coroutine[Any, Any, None]]
) -> Generator[Any, None, _T]:
    """Await a start. When cancelled, await `stopped` first, and only then cancel the start.

    On its own, `loop.subprocess_exec` would wait for the program's exit when cancelled, and on 3.11 even forever, if
    the task that prepares its pipes has been cancelled, too.
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
        except BaseException as error:  # noqa: BLE001  # the exception is passed on to the start
            reason = error
