"""Notices that file systems were mounted or unmounted, as the runtime directory is by logind (systemd-logind(8)).

At a user's last logout that directory goes, with a kept process's socket and lock in it, and at the next login there is
a new one. poll(2) on /proc/self/mountinfo reports an error once for each change (proc(5)). That takes a thread: uvloop
regards an error as the end of a descriptor, and one epoll(7) in another may swallow it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import threading
from collections.abc import Callable


class MountWatch:
    """Calls `changed` in the event loop after mounts have changed, until it is closed. Without /proc it never does."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._ending = -1
        with contextlib.suppress(OSError, RuntimeError):  # no /proc, or a limit on threads
            mounts = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
            ended, self._ending = os.pipe2(os.O_CLOEXEC)
            loop = asyncio.get_running_loop()
            threading.Thread(target=_watch, args=(mounts, ended, loop, changed), name="mounts", daemon=True).start()

    def close(self) -> None:
        """Watch no longer. Repeated calls do nothing."""
        if self._ending >= 0:
            os.close(self._ending)
            self._ending = -1


def _watch(mounts: int, ended: int, loop: asyncio.AbstractEventLoop, changed: Callable[[], None]) -> None:
    poll = select.poll()
    poll.register(mounts, select.POLLPRI)
    poll.register(ended, 0)  # only its end
    try:
        while not any(descriptor == ended for descriptor, _ in poll.poll()):
            loop.call_soon_threadsafe(changed)
    except RuntimeError:
        pass  # the loop is closed: nobody waits any more
    finally:
        os.close(mounts)
        os.close(ended)
