"""Starts the workers of an edge, and replaces those that end or no longer turn.

    supervisor ──fork──> worker, worker, …       each accepts from the same listening sockets
               <─report─                          ready, turning, reloaded

A worker that is stuck accepts nothing, so with one queue of new connections for all of them (and not one for each, as
with SO_REUSEPORT) new clients are served by the others. The supervisor never touches a connection, so nobody can hold
it up. It has no event loop, because a worker is forked from it and begins with a loop of its own: that takes
milliseconds, and a new interpreter would take a second. It logs without a thread, for the same reason.

All other processes that know an edge (systemd, or the core that started it) see only the supervisor: it reports
readiness and answers the watchdog, passes on signals, and ends when its workers have ended. If the supervisor dies, its
workers end at once, and whoever started it starts another one.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from farhand_server.hangup import OwnTerminal
from farhand_server.listen.restarts import RestartDelay
from farhand_server.logs import Logger
from farhand_server.systemd import Notifier

from .reports import ReportKind, ReportReader, WorkerReports

START_TIME: Final = 30.0
"""Seconds a worker may take to be ready. It takes a tenth on an idle machine."""

STUCK_TIME: Final = 10.0
"""Seconds without a report after which a worker is killed. A turn is meant to take milliseconds; a machine that is
short of processors or memory may delay one by seconds. Meanwhile only the clients of this worker wait, and their login
deadline (25 s) is not over when it is replaced."""

MAX_WORKER_DELAY: Final = 1.0
"""Maximum seconds between two starts of a worker that keeps ending: a start takes 30 ms of a processor."""

CORE_GONE_DELAY: Final = 1.0
"""Seconds before a worker is replaced that has lost the core that it belongs to: usually the core is ending, and says
so within that time."""

_HANDLED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


@dataclass(slots=True)
class _Worker:
    """A place for a worker, and the process in it, if any."""

    restarts: RestartDelay = field(default_factory=lambda: RestartDelay(MAX_WORKER_DELAY))
    pid: int | None = None
    socket: socket.socket | None = None
    reports: ReportReader = field(default_factory=ReportReader)
    ready_at: float | None = None
    status: str = ""
    reloading: bool = False
    reload_when_ready: bool = False
    deadline: float = 0.0
    """When to kill it, unless it reports something."""
    start_at: float | None = 0.0
    """When to start one; None while one runs, or if none will be started."""


class Supervisor:
    """Keeps `count` workers running.

    `work` is called in each new process, and returns its exit code. `ready` is called in this process once all workers
    have been ready. `reload` is called before the workers are told to reload. `parent` is a descriptor that ends when
    the core that has started this edge ends or is replaced; without one, the edge is independent.
    """

    def __init__(
        self,
        count: int,
        work: Callable[[WorkerReports], int],
        log: Logger,
        notifier: Notifier,
        *,
        terminal: OwnTerminal,
        ready: Callable[[], None],
        reload: Callable[[], None] = lambda: None,
        parent: int | None = None,
    ) -> None:
        self._workers = [_Worker() for _ in range(count)]
        self._work = work
        self._log = log
        self._notifier = notifier
        self._terminal = terminal
        self._ready = ready
        self._reload = reload
        self._parent = parent
        self._announced = False
        """Whether `ready` was called."""
        self._reloading = False
        self._stopping = False
        self._failure = 0
        """The exit code of a worker that could not be started."""
        self._poll = select.poll()
        self._wakeup, self._wake = socket.socketpair()
        self._next_watchdog = 0.0

    def run(self) -> int:
        """Supervise until told to stop and all workers have ended. Return the exit code, in a worker as well."""
        for end in (self._wakeup, self._wake):
            end.setblocking(False)
        before = {number: signal.signal(number, lambda *_: None) for number in _HANDLED}
        previous = signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        self._poll.register(self._wakeup, select.POLLIN)
        if self._parent is not None:
            self._poll.register(self._parent, select.POLLIN)
        hangup = self._terminal.open()
        if hangup is not None:
            self._poll.register(hangup, select.POLLIN)
        try:
            while True:
                worker = self._due()
                if worker is not None:
                    code = self._start(worker)
                    if code is not None:
                        return code
                elif not any(worker.pid for worker in self._workers) and (self._stopping or self._failure):
                    return self._failure
                else:
                    self._wait(hangup)
        finally:
            self._terminal.close()
            signal.set_wakeup_fd(previous)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._wakeup.close()
            self._wake.close()

    def _due(self) -> _Worker | None:
        now = time.monotonic()
        if self._stopping:
            return None
        return next((each for each in self._workers if each.start_at is not None and each.start_at <= now), None)

    def _start(self, worker: _Worker) -> int | None:
        ours, theirs = socket.socketpair()
        now = time.monotonic()
        worker.start_at = None
        try:
            pid = os.fork()
        except OSError as error:
            ours.close()
            theirs.close()
            worker.start_at = now + worker.restarts.after(None)
            self._log.warning("edge worker not started; retrying", reason=os.strerror(error.errno or 0))
            return None
        if not pid:
            ours.close()
            return self._become_worker(theirs)
        theirs.close()
        ours.setblocking(False)
        worker.pid, worker.socket, worker.reports = pid, ours, ReportReader()
        worker.ready_at, worker.reloading, worker.reload_when_ready = None, False, False
        worker.deadline = now + START_TIME
        self._poll.register(ours, select.POLLIN)
        return None

    def _become_worker(self, sock: socket.socket) -> int:
        signal.set_wakeup_fd(-1)
        for number in _HANDLED:
            ignored = number in (signal.SIGHUP, signal.SIGINT)  # until the worker handles them
            signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL)
        for end in (self._wakeup, self._wake, *(each.socket for each in self._workers)):
            if end is not None:
                end.close()
        self._notifier.close()
        return self._work(WorkerReports(sock))

    def _wait(self, hangup: int | None) -> None:
        """Wait for the next event or deadline, and handle it."""
        now = time.monotonic()
        times = [each.deadline for each in self._workers if each.pid is not None]
        if not self._stopping:
            times += [each.start_at for each in self._workers if each.start_at is not None]
        interval = self._notifier.watchdog_interval
        if interval is not None:
            times.append(self._next_watchdog)
        until = min(times, default=None)
        events = self._poll.poll(None if until is None else max(0.0, until - now) * 1000 + 1)
        late = 0.0 if until is None else time.monotonic() - max(until, now)
        happened = {descriptor for descriptor, _ in events}
        if self._wakeup.fileno() in happened:
            self._handle_signals()
        if self._parent in happened:
            self._parent_readable()
        if hangup in happened:
            self._terminal.look()
        for worker in self._workers:
            if worker.socket is not None and worker.socket.fileno() in happened:
                self._read_reports(worker)
        self._reap()
        self._check(late)
        if interval is not None and time.monotonic() >= self._next_watchdog:
            self._notifier.watchdog()
            self._next_watchdog = time.monotonic() + interval

    def _handle_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in self._wakeup.recv(4096):
                if number == signal.SIGTERM or (number == signal.SIGINT and self._parent is None):
                    self._stop()
                elif number == signal.SIGHUP:
                    if self._terminal.has_hung_up():
                        self._stop()
                    else:
                        self._begin_reload()

    def _stop(self) -> None:
        self._stopping = True
        self._notifier.stopping("waiting for connections to end")
        self._signal_workers(signal.SIGTERM)

    def _begin_reload(self) -> None:
        if not self._announced:
            return
        self._reload()
        self._notifier.reloading()
        self._reloading = True
        for worker in self._workers:
            worker.reloading = worker.ready_at is not None
            worker.reload_when_ready = worker.pid is not None and worker.ready_at is None
            if worker.reloading and worker.pid is not None:
                os.kill(worker.pid, signal.SIGHUP)
        self._report_ready()

    def _signal_workers(self, number: signal.Signals) -> None:
        for worker in self._workers:
            if worker.pid is not None:
                os.kill(worker.pid, number)

    def _parent_readable(self) -> None:
        assert self._parent is not None
        if not os.read(self._parent, 1):
            # The workers notice the core's end themselves, and serve their clients until then.
            self._poll.unregister(self._parent)
            self._stopping = True

    def _read_reports(self, worker: _Worker) -> None:
        assert worker.socket is not None
        try:
            data = worker.socket.recv(1 << 16)
            reports = list(worker.reports.read(data))
        except BlockingIOError:
            return
        except (OSError, ValueError):
            data, reports = b"", []
        if not data:
            self._forget_socket(worker)
            return
        worker.deadline = time.monotonic() + (STUCK_TIME if worker.ready_at is not None else START_TIME)
        for report in reports:
            if report.kind is ReportKind.READY:
                worker.status, worker.reloading = report.status, False
                if worker.ready_at is None:
                    self._worker_ready(worker)
                self._report_ready()

    def _worker_ready(self, worker: _Worker) -> None:
        worker.ready_at = time.monotonic()
        worker.deadline = worker.ready_at + STUCK_TIME
        if worker.reload_when_ready and worker.pid is not None:
            worker.reload_when_ready = False
            os.kill(worker.pid, signal.SIGHUP)

    def _report_ready(self) -> None:
        if self._stopping or any(each.reloading for each in self._workers):
            return
        if not self._announced:
            if any(each.ready_at is None for each in self._workers):
                return
            self._announced = True
            self._ready()
        elif not self._reloading:
            return
        self._reloading = False
        # All have read the same files; if one has refused them, that is what the administrator has to know.
        self._notifier.ready(max((each.status for each in self._workers), key=len, default=""))

    def _reap(self) -> None:
        for worker in self._workers:
            if worker.pid is None:
                continue
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._ended(worker, os.waitstatus_to_exitcode(status))

    def _ended(self, worker: _Worker, code: int) -> None:
        now = time.monotonic()
        pid, worker.pid = worker.pid, None
        if worker.socket is not None:
            self._forget_socket(worker)
        worked = None if worker.ready_at is None else now - worker.ready_at
        worker.ready_at, worker.reloading = None, False
        if self._stopping:
            return
        if not self._announced:
            # It has said why.
            self._failure = code or 1
            self._stopping = True
            self._signal_workers(signal.SIGKILL)
            return
        delay = worker.restarts.after(worked)
        if self._parent is not None and code == 0:
            delay = max(delay, CORE_GONE_DELAY)
        worker.start_at = now + delay
        self._log.error("edge worker exited; starting another", code=code, worker=pid, delay=round(delay, 1) or None)
        self._report_ready()

    def _check(self, late: float) -> None:
        """Kill workers that are stuck."""
        now = time.monotonic()
        for worker in self._workers:
            if worker.pid is None or worker.deadline > now:
                continue
            if late > 1.0:
                # This process did not run either, so the machine or its container stood still.
                worker.deadline = now + STUCK_TIME
                continue
            why = "edge worker does not turn; killing it" if worker.ready_at is not None else "edge worker not ready"
            self._log.error(why, worker=worker.pid)
            os.kill(worker.pid, signal.SIGKILL)
            worker.deadline = now + STUCK_TIME

    def _forget_socket(self, worker: _Worker) -> None:
        assert worker.socket is not None
        self._poll.unregister(worker.socket)
        worker.socket.close()
        worker.socket = None
