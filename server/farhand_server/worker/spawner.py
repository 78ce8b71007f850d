"""The process that forks workers.

It has loaded everything that a worker needs, has one thread and only the socket to the core, so a fork takes about a
millisecond, inherits nothing, and shares its memory with the others. It takes orders from the core alone, opens nothing
that a user could influence, and ends when the core is gone.

A worker then becomes its user, irrevocably: it has the user's ids, no privileges and no way to new ones, a session of
its own, and no descriptor but its socket. The user may signal it, but neither trace it nor read its memory, and it is
the first to be killed when memory is short.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .identity import become_user, give_up_privileges
from .messages import KillWorker, MessageError, StartWorker, decode, receive
from .serving import WorkerThreads

OOM_SCORE: Final = "500"
"""A worker can be started again, unlike a run (proc_pid_oom_score_adj(5))."""

END_TIMEOUT: Final = 500
"""Milliseconds to wait for killed workers before the spawner ends. Then whoever adopts them reaps them."""

_CODE: Final = "import sys; sys.path.insert(0, sys.argv[1]); from farhand_server.worker.spawner import main; main()"


def start_spawner(control: int) -> int:
    """Start a spawner that reads its orders from the socket `control`, and return its pid.

    It imports nothing but Python's own modules and this package, and has an empty environment: not even root's could
    change what it does. Raises OSError.
    """
    package = Path(__file__).parents[2]
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", "-c", _CODE, str(package)],
        {},
        file_actions=[
            (os.POSIX_SPAWN_DUP2, control, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
    )


def main() -> None:
    """Be the spawner, with the socket to the core as stdin."""
    os.chdir("/")
    _close_beyond(2)
    _set_name("farhand-spawner")
    gc.freeze()
    with socket.socket(fileno=0) as control:
        worker = Spawner(control).serve()
    if worker is not None:
        with worker:
            WorkerThreads(worker).serve()
    os._exit(0)  # threads that hang must not be waited for


class Spawner:
    """Obeys the core's orders."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._waiting = select.poll()
        self._waiting.register(control, select.POLLIN)
        self._pidfds: dict[int, int] = {}
        """The pidfd of each worker, by the number of its order."""

    def serve(self) -> socket.socket | None:
        """Fork workers until the core is gone; then return None. In each worker, return its socket."""
        while True:
            for fd, _ in self._waiting.poll():
                if fd != self._control.fileno():
                    self._reap(fd)
                    continue
                try:
                    packet, attached, _ = receive(self._control)
                except InterruptedError:
                    continue
                if not packet:
                    self._end_all()
                    return None
                worker = self._obey(packet, attached)
                if worker is not None:
                    return worker

    def _obey(self, packet: bytes, attached: Sequence[int]) -> socket.socket | None:
        try:
            number, order = decode(packet)
            if isinstance(order, StartWorker) and attached:
                return self._start(number, order, attached[0])
            if isinstance(order, KillWorker) and number in self._pidfds:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pidfds[number], signal.SIGKILL)
        except (MessageError, OSError):
            pass  # the core sees that the socket is closed
        finally:
            for fd in attached:
                with contextlib.suppress(OSError):
                    os.close(fd)
        return None

    def _start(self, number: int, order: StartWorker, channel: int) -> socket.socket | None:
        pid = os.fork()
        if pid:
            try:
                self._pidfds[number] = pidfd = os.pidfd_open(pid)
            except OSError:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise
            self._waiting.register(pidfd, select.POLLIN)
            return None
        try:
            os.dup2(channel, 0)
            _close_beyond(2)
            self._control.detach()
            _set_name("farhand-worker")  # before it belongs to the user, and can no longer be written
            become(order)
            return socket.socket(fileno=0)
        except BaseException:  # noqa: BLE001  # it must not go on as another user
            os._exit(1)

    def _end_all(self) -> None:
        """Kill and reap all workers, but do not wait for one that even KILL does not end at once (NFS)."""
        for pidfd in self._pidfds.values():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        self._waiting.unregister(self._control)
        while self._pidfds and (ended := self._waiting.poll(END_TIMEOUT)):
            for pidfd, _ in ended:
                self._reap(pidfd)

    def _reap(self, pidfd: int) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        self._waiting.unregister(pidfd)
        self._pidfds = {number: fd for number, fd in self._pidfds.items() if fd != pidfd}
        os.close(pidfd)


def _close_beyond(last: int) -> None:
    with os.scandir("/proc/self/fd") as entries:
        highest = max(int(entry.name) for entry in entries)
    os.closerange(last + 1, highest + 1)


def become(order: StartWorker) -> None:
    """Make this process that of a user. Raises OSError if anything fails."""
    os.setsid()
    Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
    if order.uid >= 0:
        become_user(order.uid, order.gid, order.groups)
    give_up_privileges(die_with_parent=signal.SIGKILL)


def _set_name(name: str) -> None:
    """Set the name that ps(1) and top(1) show (proc_pid_comm(5)); the command line is Python's."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name)
