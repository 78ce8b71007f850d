"""Runs calls that may block for long beside the event loop: a name look-up, a file on a dead file server, a file lock.

The threads of `asyncio.to_thread` are waited for by `asyncio.run` and at the end of the process: a look-up that hangs
would delay the error about it until it returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar, cast

from .errors import ConnectError

P = ParamSpec("P")
T = TypeVar("T")

MAX_BLOCKED: Final = 32
"""Calls under way at once. Those that were given up still hold a thread each, and a client that reconnects for days may
give up many; no client makes so many at once on purpose."""

_blocked = threading.BoundedSemaphore(MAX_BLOCKED)


async def run_blocking(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what `function` returns, or raise what it raises; it runs in a thread of its own.

    If the caller is cancelled, the call goes on unnoticed; not even the end of the process waits for it. Raises
    `ConnectError` while `MAX_BLOCKED` earlier calls have not returned.
    """
    loop = asyncio.get_running_loop()
    returned: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if returned.done():
            return
        if error is not None:
            returned.set_exception(error)
        else:
            returned.set_result(cast(T, result))

    def call() -> None:
        result, raised = None, None
        try:
            result = function(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001  # raised again in the caller
            raised = error
        _blocked.release()
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(settle, result, raised)

    if not _blocked.acquire(blocking=False):
        raise ConnectError(f"{MAX_BLOCKED} earlier name look-ups and file accesses of this process still hang")
    try:
        threading.Thread(target=call, name="farhand blocking call", daemon=True).start()
    except RuntimeError:  # no more threads: rather block the loop than fail
        _blocked.release()
        return function(*args, **kwargs)
    return await returned
