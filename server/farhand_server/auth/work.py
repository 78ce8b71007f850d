"""The work of logins, in threads: in turn by source, a few steps at a time, and for no more than a share of the time.

Without this, a hundred attempts a second would cost the core's loop a tenth of each second, and everybody else with it.
Python's threads share one lock, so it is not enough that the work is done elsewhere. A step that waits, for a name
service that does not answer, keeps its thread, and the others go on in another.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import queue
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
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

STEP_TIME: Final = 0.5
"""Seconds after which a step counts as hanging: most take less than two milliseconds, and the next must not wait."""

MAX_HANGING: Final = 12
"""Steps of unknown sources that may hang at once, each in a thread of its own, with 50 KiB. Beyond this, such sources
wait until one of them ends: anybody may ask for the names that hang."""

KNOWN_HANGING: Final = 4
"""How many more may hang when somebody logs in from a known source."""

KNOWN_SOURCES: Final = 16_384
"""Sources from which somebody has logged in that are remembered, in 3 MiB. Their attempts wait in a queue of their
own."""


Step = Callable[[], Any]


class _WaitingStep(NamedTuple):
    step: Step
    done: asyncio.Future[Any]
    cost: float
    """Seconds to count in addition to those that the step takes."""


class _RunningStep:
    """A step in a thread, which may turn out to hang."""

    def __init__(self, waiting: _WaitingStep, thread: _Thread) -> None:
        self.done = waiting.done
        self.cost = waiting.cost
        self.thread = thread
        self.hangs = False
        self.timer: asyncio.TimerHandle | None = None


class LoginWork:
    """Runs the steps of login attempts, `at_once` at a time. Each attempt counts `loop_cost` besides its steps.

    Two queues take turns: sources from which somebody has logged in before, and all others. In each, the sources take
    turns. An attempt waits for each step, so a source has no more steps waiting than connections before login.
    """

    def __init__(self, *, at_once: int = 1, loop_cost: float = LOOP_COST) -> None:
        self._at_once = at_once
        self._loop_cost = loop_cost
        self._known_waiting, self._others_waiting = _StepQueue(), _StepQueue()
        self._turns = deque((self._known_waiting, self._others_waiting))
        self._known: dict[Hashable, None] = {}
        self._idle: list[_Thread] = []
        self._running = 0
        """Steps that run and do not hang."""
        self._hanging = 0
        self._timer: asyncio.TimerHandle | None = None
        self._paid_until = 0.0
        """When, by the loop's clock, the work done so far would be done if it only had its share."""

    def of(self, source: Hashable) -> Callable[[Step], asyncio.Future[Any]]:
        """Return the function that runs the steps of one attempt from a source, and returns or raises what they do."""
        unpaid = self._loop_cost

        def run(step: Step) -> asyncio.Future[Any]:
            nonlocal unpaid
            done = asyncio.get_running_loop().create_future()
            waiting = _WaitingStep(step, done, unpaid)
            unpaid = 0.0
            (self._known_waiting if source in self._known else self._others_waiting).add(source, waiting)
            self._start()
            return done

        return run

    def knows(self, source: Hashable) -> bool:
        """Return whether somebody has logged in from a source."""
        return source in self._known

    def logged_in(self, source: Hashable) -> None:
        """Remember a source from which somebody has logged in."""
        self._known.pop(source, None)
        self._known[source] = None
        if len(self._known) > KNOWN_SOURCES:
            del self._known[next(iter(self._known))]

    def _start(self) -> None:
        """Start the next step, if it is time for it."""
        while self._running < self._at_once and self._timer is None and (chosen := self._next_queue()) is not None:
            self._start_from(chosen)

    def _start_from(self, chosen: _StepQueue) -> None:
        loop = asyncio.get_running_loop()
        wait = self._paid_until - LOGIN_BURST / LOGIN_SHARE - loop.time()
        if wait > 0:
            self._timer = loop.call_later(wait, self._waited)
            return
        if chosen is self._turns[0]:
            self._turns.rotate()
        waiting = chosen.next()
        self._running += 1
        running = _RunningStep(waiting, self._idle.pop() if self._idle else _Thread(loop))
        running.timer = loop.call_later(STEP_TIME, self._overdue, running)
        running.thread.run(waiting.step, functools.partial(self._finished, running))

    def _next_queue(self) -> _StepQueue | None:
        """Return the queue whose turn it is, None if nothing may start."""
        most = {self._others_waiting: MAX_HANGING, self._known_waiting: MAX_HANGING + KNOWN_HANGING}
        return next((each for each in self._turns if each and self._hanging < most[each]), None)

    def _overdue(self, running: _RunningStep) -> None:
        """Let the next step start, because this one hangs."""
        running.hangs = True
        self._hanging += 1
        self._running -= 1
        self._start()

    def _waited(self) -> None:
        self._timer = None
        self._start()

    def _finished(self, running: _RunningStep, result: Any, error: BaseException | None, seconds: float) -> None:
        assert running.timer is not None
        running.timer.cancel()
        if running.hangs:
            self._hanging -= 1
        else:
            self._running -= 1
        if len(self._idle) >= self._at_once:
            running.thread.end()
        else:
            self._idle.append(running.thread)
        done, now = running.done, asyncio.get_running_loop().time()
        self._paid_until = max(self._paid_until, now) + (running.cost + seconds) / LOGIN_SHARE
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
        self._queue: queue.SimpleQueue[tuple[Step, Callable[[Any, BaseException | None, float], None]] | None]
        self._queue = queue.SimpleQueue()
        threading.Thread(target=self._work, name="logins", daemon=True).start()

    def run(self, step: Step, finished: Callable[[Any, BaseException | None, float], None]) -> None:
        self._queue.put((step, finished))

    def end(self) -> None:
        """End once everything is done."""
        self._queue.put(None)

    def _work(self) -> None:
        block_all_signals()
        while (given := self._queue.get()) is not None:
            step, finished = given
            result, error = None, None
            began = time.thread_time()
            try:
                result = step()
            except BaseException as raised:  # noqa: BLE001  # whoever waits for the step handles it
                error = raised
            seconds = time.thread_time() - began
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(finished, result, error, seconds)
            del given, step, finished, result, error
