"""The work of logins, on a thread of its own: in turn by source, and for no more than a share of the time.

Without this, a hundred attempts a second would cost the core's loop a tenth of each second, and everybody else with it.
Python's threads share one lock, so it is not enough that the work is done elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import queue
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Final, NamedTuple

from ..runtime import block_all_signals

LOGIN_SHARE: Final = 0.5
"""The share of one processor that logins may use in the long run: the other half remains for runs, even on a machine
with only one. An attempt takes 1.5 to 2 ms of it, so there are about 300 a second."""

LOGIN_BURST: Final = 0.1
"""Seconds of work that may be done at once, after a quiet time: fifty logins."""

LOOP_COST: Final = 0.0015
"""Seconds that an attempt costs the core's loop besides its steps: to decode it, to find its files, to log it. They
count, too."""

KNOWN_SOURCES: Final = 16_384
"""Sources from which somebody has logged in that are remembered, in 3 MiB. Their attempts wait in a queue of their
own."""


Step = Callable[[], Any]


class _WaitingStep(NamedTuple):
    step: Step
    done: asyncio.Future[Any]
    cost: float
    """Seconds to count in addition to those that the step takes."""


class LoginWork:
    """Runs the steps of login attempts, one at a time.

    Two queues take turns: sources from which somebody has logged in before, and all others. In each, the sources take
    turns. An attempt waits for each step, so a source has no more steps waiting than connections before login.
    """

    def __init__(self) -> None:
        self._known_waiting, self._others_waiting = _StepQueue(), _StepQueue()
        self._turns = deque((self._known_waiting, self._others_waiting))
        self._known: dict[Hashable, None] = {}
        self._thread: _Thread | None = None
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None
        self._paid_until = 0.0
        """When, by the loop's clock, the work done so far would be done if it only had its share."""

    def of(self, source: Hashable) -> Callable[[Step], Awaitable[Any]]:
        """Return the function that runs the steps of one attempt from a source, and returns or raises what they do."""
        unpaid = LOOP_COST

        def run(step: Step) -> Awaitable[Any]:
            nonlocal unpaid
            done = asyncio.get_running_loop().create_future()
            waiting = _WaitingStep(step, done, unpaid)
            unpaid = 0.0
            (self._known_waiting if source in self._known else self._others_waiting).add(source, waiting)
            self._start()
            return done

        return run

    def logged_in(self, source: Hashable) -> None:
        """Remember a source from which somebody has logged in."""
        self._known.pop(source, None)
        self._known[source] = None
        if len(self._known) > KNOWN_SOURCES:
            del self._known[next(iter(self._known))]

    def _start(self) -> None:
        """Start the next step, if it is time for it."""
        if self._busy or self._timer is not None or not any(self._turns):
            return
        loop = asyncio.get_running_loop()
        wait = self._paid_until - LOGIN_BURST / LOGIN_SHARE - loop.time()
        if wait > 0:
            self._timer = loop.call_later(wait, self._waited)
            return
        first = self._turns[0] or self._turns[1]
        if first is self._turns[0]:
            self._turns.rotate()
        step, done, cost = first.next()
        self._busy = True
        if self._thread is None:
            self._thread = _Thread(loop)
        self._thread.run(step, functools.partial(self._finished, done, cost))

    def _waited(self) -> None:
        self._timer = None
        self._start()

    def _finished(
        self, done: asyncio.Future[Any], cost: float, result: Any, error: BaseException | None, seconds: float
    ) -> None:
        self._busy = False
        now = asyncio.get_running_loop().time()
        self._paid_until = max(self._paid_until, now) + (cost + seconds) / LOGIN_SHARE
        if not done.done():
            if error is None:
                done.set_result(result)
            else:
                done.set_exception(error)
        self._start()


class _StepQueue:
    """Steps that wait, by source. Those whose attempt has been given up are skipped."""

    def __init__(self) -> None:
        self._by_source: OrderedDict[Hashable, deque[_WaitingStep]] = OrderedDict()

    def __bool__(self) -> bool:
        while self._by_source:
            source, steps = next(iter(self._by_source.items()))
            while steps and steps[0].done.done():
                steps.popleft()
            if steps:
                return True
            del self._by_source[source]
        return False

    def add(self, source: Hashable, waiting: _WaitingStep) -> None:
        self._by_source.setdefault(source, deque()).append(waiting)

    def next(self) -> _WaitingStep:
        """Remove and return a step of the source whose turn it is. Call this only if the queue is true."""
        source, steps = self._by_source.popitem(last=False)
        found = steps.popleft()
        if steps:
            self._by_source[source] = steps
        return found


class _Thread:
    """A thread that runs steps and reports to the loop. It is a daemon: a file system that hangs must not keep the
    service from ending."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: queue.SimpleQueue[tuple[Step, Callable[[Any, BaseException | None, float], None]]]
        self._queue = queue.SimpleQueue()
        threading.Thread(target=self._work, name="logins", daemon=True).start()

    def run(self, step: Step, finished: Callable[[Any, BaseException | None, float], None]) -> None:
        self._queue.put((step, finished))

    def _work(self) -> None:
        block_all_signals()
        while True:
            step, finished = self._queue.get()
            result, error = None, None
            began = time.thread_time()
            try:
                result = step()
            except BaseException as raised:  # noqa: BLE001  # whoever waits for the step handles it
                error = raised
            seconds = time.thread_time() - began
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(finished, result, error, seconds)
            del step, finished, result, error
