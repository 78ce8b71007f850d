"""All workers of the core: starts one for a user when there is a question, replaces it when it hangs, and ends it when
it is idle."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import signal
import socket
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from farhand_server.credentials import Credentials

from .channel import WaitingAnswer, WorkerChannel, WorkerGone
from .messages import ANSWER_TO, KillWorker, LookUp, OpenStart, ReadKeyFile, StartWorker, WorkerAnswer, encode
from .spawner import start_spawner

ANSWER_TIMEOUT: Final = 4.0
"""Seconds that a worker has to answer. On a loaded machine it takes some milliseconds, and longer on a file system in
the network. It is less than an upgrade waits for runs that are being started (`upgrade.replace`); see `hurry`."""

HURRIED_TIMEOUT: Final = 0.5
"""Seconds that a worker always has, also if the service hurries: together with `ANSWER_TIMEOUT` still less than an
upgrade waits."""

MAX_WORKERS: Final = 64
"""Workers at once, including hung ones until they are killed. Each takes about a megabyte. An idle one is ended for a
new one, so this is how many users may have questions in the same millisecond."""

MAX_BEFORE_LOGIN: Final = 8
"""Workers that have only been asked before a login. Strangers may name every account of the machine, one after the
other; most logins are to a few."""

IDLE_TIME: Final = 20.0
"""Seconds after its last answer after which a worker is ended. Forking another takes a few milliseconds."""

SPAWNER_STOP_TIMEOUT: Final = 2.0
"""Seconds that the spawner has to end its workers and itself before it is killed."""

Question = LookUp | OpenStart | ReadKeyFile
Answered = tuple[WorkerAnswer, int | None]
"""An answer, and its descriptor, which the receiver must close."""


class NoAnswer(OSError):
    """A worker has not answered. `errno` tells programs why; the text tells people."""

    def __str__(self) -> str:
        return self.strerror or ""


class Workers:
    """All workers of the running event loop. None stands for the service's own account, which has a worker, too."""

    def __init__(self) -> None:
        self.started = 0
        """Workers started so far."""
        self.hung = 0
        """Workers killed because they did not answer."""
        self.on_hung: Callable[[Credentials | None], None] = lambda user: None
        """Called for each of these."""
        self.loop: Final = asyncio.get_running_loop()
        self._hurry_until: float | None = None
        """When all questions should be answered; None if the service does not hurry."""
        self._given_up: set[Credentials | None] = set()
        """Whose worker has hung since then."""
        self._numbers = itertools.count(1)
        self._spawner: _SpawnerProcess | None = None
        self._serving: dict[Credentials | None, WorkerChannel] = {}
        self._owners: dict[WorkerChannel, Credentials | None] = {}
        """All workers that have not ended, including those that get no more questions."""
        self._before_login: OrderedDict[WorkerChannel, None] = OrderedDict()
        """Those that have only been asked before a login, by when they were last asked."""
        self._last_used: dict[WorkerChannel, float] = {}
        self._idle_check: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Return the number of workers that have not ended."""
        return len(self._owners)

    def ask(
        self, credentials: Credentials | None, question: Question, *, before_login: bool = False
    ) -> asyncio.Future[Answered]:
        """Ask the user's worker, and return the future of its answer, which raises `NoAnswer` if there is none in time.

        Of the workers that were only asked `before_login`, which a stranger can cause, `MAX_BEFORE_LOGIN` are kept.
        If the worker ends before it has answered, the question is asked once more, of another one.
        """
        answered: asyncio.Future[Answered] = self.loop.create_future()
        if credentials in self._given_up:
            answered.set_exception(_no_time_left())
            return answered
        timeout = ANSWER_TIMEOUT
        if self._hurry_until is not None:
            timeout = max(self._hurry_until - self.loop.time(), HURRIED_TIMEOUT)
        deadline = self.loop.time() + timeout
        dated = replace(question, deadline=time.monotonic_ns() + int(timeout * 1e9))
        self._ask(credentials, dated, answered, deadline, before_login=before_login, retry=True)
        return answered

    def hurry(self) -> None:
        """From now on, wait no longer than `ANSWER_TIMEOUT` for all answers together, because the service is about to
        stop or to be upgraded: one user's questions could otherwise hang one after the other. A user whose worker hangs
        gets no more answers. `take_time` undoes this."""
        if self._hurry_until is None:
            self._hurry_until = self.loop.time() + ANSWER_TIMEOUT

    def take_time(self) -> None:
        """Wait for each answer again, after `hurry`."""
        self._hurry_until = None
        self._given_up.clear()

    async def close(self) -> None:
        """End all workers, and the spawner. Questions without an answer fail. Another question starts them again."""
        if self._idle_check is not None:
            self._idle_check.cancel()
            self._idle_check = None
        for channel in tuple(self._owners):
            self._forget(channel, NoAnswer(errno.ECANCELED, "the service is stopping or being upgraded; try again"))
        spawner, self._spawner = self._spawner, None
        if spawner is not None:
            await spawner.stop()

    def abandon(self) -> None:
        """End everything, without the loop, which is closed."""
        if self._spawner is not None:
            self._spawner.abandon()

    def _ask(
        self,
        credentials: Credentials | None,
        question: Question,
        answered: asyncio.Future[Answered],
        deadline: float,
        *,
        before_login: bool,
        retry: bool,
    ) -> None:
        number = next(self._numbers)
        try:
            packet = encode(number, question)
            channel = self._worker(credentials, before_login=before_login)
        except ValueError:
            answered.set_exception(NoAnswer(errno.E2BIG, "the PATH is too long"))
            return
        except OSError as error:
            answered.set_exception(NoAnswer(error.errno, error.strerror))
            return

        def done(answer: WorkerAnswer | Exception, attached: int | None) -> None:
            if waiting.timer is not None:
                waiting.timer.cancel()
            if answered.done():  # whoever has asked is gone
                if attached is not None:
                    os.close(attached)
            elif isinstance(answer, WorkerGone) and retry:
                self._ask(credentials, question, answered, deadline, before_login=before_login, retry=False)
            elif isinstance(answer, WorkerGone):
                answered.set_exception(NoAnswer(errno.ECHILD, "the user's worker was killed twice; try again"))
            elif isinstance(answer, Exception):
                answered.set_exception(answer)
            else:
                answered.set_result((answer, attached))

        waiting = WaitingAnswer(packet, ANSWER_TO[type(question)], done)
        waiting.timer = self.loop.call_at(deadline, self._timed_out, channel, number)
        channel.ask(number, waiting)

    def _timed_out(self, channel: WorkerChannel, number: int) -> None:
        waited = channel.waiting.pop(number, None)
        if waited is None:
            return
        owner = self._owners.get(channel)
        self._retire(channel)
        if self._hurry_until is not None:
            self._given_up.add(owner)
            waited.answered(_no_time_left(), None)
            self._end(channel, _no_time_left())
            return
        sentence = f"a process of the user has not answered for {ANSWER_TIMEOUT:g} s"
        waited.answered(NoAnswer(errno.ETIMEDOUT, sentence), None)
        self._changed(channel)

    def _retire(self, channel: WorkerChannel) -> None:
        """Ask a hung worker nothing more. What else it has been asked, it may still answer in time."""
        owner = self._owners.get(channel)
        if channel in self._owners and self._serving.get(owner) is channel:
            del self._serving[owner]
            self._before_login.pop(channel, None)
            self.hung += 1
            self.on_hung(owner)

    def _worker(self, credentials: Credentials | None, *, before_login: bool) -> WorkerChannel:
        channel = self._serving.get(credentials)
        if channel is None:
            channel = self._serving[credentials] = self._start(credentials)
            self._before_login[channel] = None
        if not before_login:
            self._before_login.pop(channel, None)
        elif channel in self._before_login:
            self._before_login.move_to_end(channel)
            idle = (each for each in self._before_login if not each.waiting and each is not channel)
            if len(self._before_login) > MAX_BEFORE_LOGIN and (oldest := next(idle, None)) is not None:
                self._end(oldest)
        return channel

    def _start(self, credentials: Credentials | None) -> WorkerChannel:
        """Start a worker. Its questions wait in its socket until it runs. Raises OSError."""
        if len(self._owners) >= MAX_WORKERS:
            self._end_idle(only=1)
        if len(self._owners) >= MAX_WORKERS:
            raise OSError(errno.EAGAIN, f"the service is busy with {MAX_WORKERS} other users; try again in a moment")
        spawner = self._spawner
        if spawner is None or spawner.gone:
            spawner = self._spawner = _SpawnerProcess(self.loop)
        number = next(self._numbers)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                if credentials is None:
                    order = StartWorker(-1, -1, ())
                else:
                    order = StartWorker(credentials.uid, credentials.gid, credentials.groups)
                spawner.order(number, order, theirs.fileno())
            except BaseException:
                ours.close()
                raise
        channel = WorkerChannel(number, ours, self._changed)
        self._owners[channel] = credentials
        self.started += 1
        return channel

    def _changed(self, channel: WorkerChannel) -> None:
        if channel not in self._owners:
            return
        retired = self._serving.get(self._owners[channel]) is not channel
        if channel.gone or (retired and not channel.waiting):
            self._end(channel)
            return
        self._last_used[channel] = self.loop.time()
        if self._idle_check is None:
            self._idle_check = self.loop.call_later(IDLE_TIME, self._check_idle)

    def _check_idle(self) -> None:
        self._idle_check = None
        self._end_idle(before=self.loop.time() - IDLE_TIME)
        if self._last_used:
            due = min(self._last_used.values()) + IDLE_TIME
            self._idle_check = self.loop.call_at(max(due, self.loop.time() + 1.0), self._check_idle)

    def _end_idle(self, *, only: int | None = None, before: float | None = None) -> None:
        """End workers that have no question, the longest idle first."""
        idle = sorted((used, channel.number) for channel, used in self._last_used.items() if not channel.waiting)
        chosen = {number for used, number in idle[:only] if before is None or used <= before}
        for channel in [channel for channel in self._owners if channel.number in chosen]:
            self._end(channel)

    def _end(self, channel: WorkerChannel, why: NoAnswer | None = None) -> None:
        """Forget a worker and kill it, wherever it hangs. Questions without an answer fail because of `why`."""
        self._forget(channel, why)
        if self._spawner is not None and not self._spawner.gone:
            with contextlib.suppress(OSError):
                self._spawner.order(channel.number, KillWorker())

    def _forget(self, channel: WorkerChannel, why: NoAnswer | None) -> None:
        owner = self._owners.pop(channel)
        self._last_used.pop(channel, None)
        self._before_login.pop(channel, None)
        if self._serving.get(owner) is channel:
            del self._serving[owner]
        channel.close()
        if why is not None:
            waiting, channel.waiting = channel.waiting, {}
            for waited in waiting.values():
                waited.answered(why, None)


def _no_time_left() -> NoAnswer:
    why = "a process of the user does not answer, and the service is stopping or being upgraded"
    return NoAnswer(errno.ETIMEDOUT, why)


class _SpawnerProcess:
    """The core's end of the spawner."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ended = asyncio.Event()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        weakref.finalize(self, self._control.close)  # if the loop is closed first
        with theirs:
            try:
                self._pid = start_spawner(theirs.fileno())
                self._pidfd = os.pidfd_open(self._pid)
            except BaseException:
                self._control.close()
                raise
        weakref.finalize(self, _close_quietly, self._pidfd)
        self._control.setblocking(False)
        loop.add_reader(self._pidfd, self._reap)

    @property
    def gone(self) -> bool:
        """Whether the spawner has ended."""
        return self._ended.is_set()

    def order(self, number: int, order: StartWorker | KillWorker, attached: int | None = None) -> None:
        """Send an order. Raises OSError, also if the spawner does not take it."""
        if attached is None:
            self._control.send(encode(number, order))
        else:
            socket.send_fds(self._control, [encode(number, order)], [attached])

    async def stop(self) -> None:
        """Let the spawner end its workers and itself."""
        self._control.close()
        try:
            async with asyncio.timeout(SPAWNER_STOP_TIMEOUT):
                await self._ended.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            await self._ended.wait()

    def abandon(self) -> None:
        """As `stop`, without the loop."""
        self._control.close()
        if not self.gone:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._pid, 0)

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        self._ended.set()


def _close_quietly(fd: int) -> None:
    with contextlib.suppress(OSError):
        os.close(fd)


_current: Workers | None = None


def current() -> Workers:
    """Return the workers of the running event loop."""
    global _current
    loop = asyncio.get_running_loop()
    if _current is None or _current.loop is not loop:
        if _current is not None and _current.loop.is_closed():
            _current.abandon()
        _current = Workers()
    return _current
