"""The process and the event loop in which an object of the API was made: the only ones that may use it.

Used anywhere else, such an object would hang (nothing turns its loop), or write to a connection that another process
uses too. So each call is checked at its beginning, and an error says what to do instead.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final, NoReturn, ParamSpec

from .errors import NotUsableHere

P = ParamSpec("P")

IN_CHILD: Final = (
    "a forked process cannot use the connection of its parent: connect again here, in the child (with multiprocessing, "
    "in the function that the workers run)"
)


class HomeLoop:
    """The process and the running event loop, if any, in which this object is made."""

    __slots__ = ("_loop", "_pid")

    def __init__(self) -> None:
        self._loop = _running_loop()
        self._pid = os.getpid()

    @property
    def in_child(self) -> bool:
        """Whether this is a forked child of the process in which the object was made."""
        return os.getpid() != self._pid

    def check(self, what: str) -> None:
        """Return if the running loop is the object's own. Raises `NotUsableHere`, which calls the object `what`."""
        # In a forked child no loop counts as running, so one comparison covers the usual case.
        running = _running_loop()
        if running is not self._loop:
            self._refuse(what, running)

    def _refuse(self, what: str, running: asyncio.AbstractEventLoop | None) -> NoReturn:
        if self.in_child:
            raise NotUsableHere(f"{what} was made in process {self._pid}; {IN_CHILD}")
        if self._loop is not None and self._loop.is_closed():
            raise NotUsableHere(
                f"{what} was made in an event loop that is closed by now: each asyncio.run has a loop of its own; "
                "connect inside the asyncio.run that uses it, or use farhand_client.sync"
            )
        if running is None:
            raise NotUsableHere(
                f"{what} was called outside its event loop: from another thread use "
                "asyncio.run_coroutine_threadsafe(…, loop) or loop.call_soon_threadsafe; without asyncio use "
                "farhand_client.sync"
            )
        raise NotUsableHere(
            f"{what} was made in another event loop; connect in this one too, or use "
            "asyncio.run_coroutine_threadsafe(…, loop) with the loop in which it was made"
        )


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def call_back(callback: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    """Call a function of the user's, whose error must not end the connection that calls it: the loop reports it."""
    try:
        callback(*args, **kwargs)
    except Exception as error:  # noqa: BLE001  # it is reported
        context = {"message": f"farhand: {callback!r} has failed", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)


def not_picklable(what: str) -> TypeError:
    """Return the error for an attempt to pickle or copy `what`, which belongs to this process."""
    return TypeError(
        f"{what} cannot be pickled or copied: it belongs to a connection of this process. Pass the host's name and the "
        "run's id instead, connect where they arrive, and attach there"
    )
