"""Measures how long each turn of an event loop takes, and names what held a loop for too long.

Everybody waits for a loop that one callback holds. A turn is everything between two waits for events. Measuring it
costs two readings of the clock; who holds the loop is only found out if it takes long:

    loop     select() returns, the timer is started if it does not run -> turn -> select() is called: too long?
    thread   the timer has expired: is the turn still the same? then looks at the loop's stack, and starts the timer

While the loop has nothing to do, the timer does not run, so an idle service is never woken up. The stack tells who and
what: the objects in it that are `Attributable`, the message that is being handled, and the functions.

asyncio's own `slow_callback_duration` exists in debug mode only, which makes everything slower, and it does not name
what a callback was doing. A loop whose selector cannot be replaced (uvloop) is watched with `LoopWatch.turn` around the
callbacks that may take long.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from types import FrameType, TracebackType
from typing import Final, NamedTuple, Protocol, runtime_checkable

from .logs import Logger, LogValue
from .runtime import block_all_signals
from .selector import WatchedSelector

HOLD_LIMIT: Final = 0.05
"""Seconds after which a turn counts as a hold: the echo of a key is noticeably late from here on, and everything that
is meant to be bounded takes a tenth of this (`connection.turns`)."""

LOOK_INTERVAL: Final = HOLD_LIMIT / 2
"""Seconds after which the thread looks: a hold is seen at least once. 40 looks a second cost 0.1 % of a processor."""

STILL_HELD: Final = 1.0
"""Seconds after which a hold is logged although it goes on: a service manager's watchdog may end the service before the
hold is over."""

HOLD_LOG_INTERVAL: Final = 1.0
"""Minimum seconds between two lines about holds, unless the second is twice as long. The others are counted, and the
next line gives their number: whoever can hold the loop again and again must not fill the log."""

MAX_PLACES: Final = 5
"""Functions of a stack that are logged, innermost first: enough to know the handler and what it was doing."""

MAX_SUSPECTS: Final = 64
"""Different handlers that are told apart within one hold."""

_now: Final = time.monotonic

_OURS: Final = ("farhand_server", "farhand_protocol")


@runtime_checkable
class Attributable(Protocol):
    """An object that acts for somebody. If it is found in the stack of a hold, the log says for whom."""

    @property
    def acts_for(self) -> Mapping[str, LogValue]:
        """The fields to log, such as user, peer and run."""


class Holds(NamedTuple):
    """How often a loop was held for longer than the limit, the longest hold, and all of them together, in seconds.

    The time for which the loop's thread waited for a processor does not count: that is the machine's doing.
    """

    times: int = 0
    longest: float = 0.0
    total: float = 0.0


class Suspect(NamedTuple):
    """What a look at a loop's stack has shown."""

    handler: str
    """The function that the loop has called."""
    fields: tuple[tuple[str, LogValue], ...]
    """For whom, and which message."""
    places: str
    """The innermost functions, with their lines."""


class LoopWatch:
    """Watches one loop: one made by `new_loop`, or any other with `turn`.

    Nothing is counted before `start`, which must be called in the loop's thread, nor after `close`. `turn` is for the
    loop's thread only.
    """

    def __init__(self, log: Logger, limit: float = HOLD_LIMIT) -> None:
        self.holds = Holds()
        self._log = log
        self._limit = limit
        self._turns = 0
        self.turning = False
        """Whether a turn has begun."""
        self.label: Suspect | None = None
        """What is being done in this turn, and for whom, if a `WatchedTurn` says so."""
        self._began = 0.0
        self._timer = -1
        self._timing = True
        """Whether the timer runs, so that the thread is going to look. Before `start`, nothing is to start it."""
        self._closing = False
        self._thread: threading.Thread | None = None
        self._watched = 0
        """The id of the loop's thread."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wait: ProcessorWait
        self._waited_before = 0.0
        self._suspects: dict[tuple[str, tuple[tuple[str, LogValue], ...]], tuple[int, Suspect]] = {}
        """What the looks at the current turn have shown, and how often."""
        self._looked_at = 0
        """The turn to which these belong."""
        self._announced = 0
        """The turn that was logged before it was over."""
        self._logged = -HOLD_LOG_INTERVAL
        self._logged_hold = 0.0
        self._unlogged = 0

    def new_loop(self) -> asyncio.SelectorEventLoop:
        """Return a new loop, each of whose turns is watched."""
        return asyncio.SelectorEventLoop(WatchedSelector(self))

    def turn(self, handler: str, acts_for: Mapping[str, LogValue]) -> WatchedTurn:
        """Return a context for a piece of work in the loop, with the words for the log.

        Inside a turn that is watched anyway, this only says what is being done, and for whom.
        """
        return WatchedTurn(self, Suspect(handler, tuple(acts_for.items()), ""))

    def start(self) -> None:
        """Start watching the running loop."""
        self._watched, self._loop = threading.get_ident(), asyncio.get_running_loop()
        self._wait = ProcessorWait()
        self._waited_before = self._wait.seconds()
        self._began = time.monotonic()
        self._timer = _libc().timerfd_create(time.CLOCK_MONOTONIC, os.O_CLOEXEC)
        if self._timer < 0:
            self._log.warning("the loop is not watched: no timer", errno=ctypes.get_errno())
            return
        self._thread = threading.Thread(target=self._look, name="loop watch", daemon=True)
        self._thread.start()
        self._start_timer()

    def close(self) -> None:
        """Stop watching, and wait until the thread has ended. Without `start`, do nothing."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._closing = self._timing = True
            self._start_timer()
            thread.join()
            os.close(self._timer)
            self._wait.close()

    # In the loop's thread

    def begin(self) -> None:
        """Note that a turn begins."""
        self._began = _now()
        self._turns += 1
        self.turning = True
        if not self._timing:
            self._start_timer()

    def end(self) -> None:
        """Note that the turn is over, and report it if it took too long."""
        self.turning = False
        if (took := _now() - self._began) > self._limit:
            self._held(took)

    def _held(self, took: float) -> None:
        if self._thread is None:
            return
        before, self._waited_before = self._waited_before, self._wait.seconds()
        waited = min(took, self._waited_before - before)
        held = took - waited
        if held > self._limit:
            times, longest, total = self.holds
            self.holds = Holds(times + 1, max(longest, held), total + held)
            self._report("the loop was held", held, waited)

    # In the other thread

    def _look(self) -> None:
        block_all_signals()
        while not self._closing:
            os.read(self._timer, 8)
            turn, took = self._turns, time.monotonic() - self._began
            if self.turning and took >= LOOK_INTERVAL * 0.9:
                self._look_at(turn)
            else:
                self._waited_before = self._wait.seconds()
            if not self.turning and not self._closing:
                self._timing = False
            if self.turning:  # a turn may have begun in between, and not have started the timer
                self._start_timer()

    def _look_at(self, turn: int) -> None:
        frame = sys._current_frames().get(self._watched)  # noqa: SLF001  # the documented name
        if frame is None or self._loop is None:
            return
        suspect = suspect_in(frame, self._loop, self.label)
        if self._turns != turn:
            return
        if self._looked_at != turn:
            self._looked_at, self._suspects = turn, {}
        key = suspect.handler, suspect.fields
        if key in self._suspects or len(self._suspects) < MAX_SUSPECTS:
            looks, _ = self._suspects.get(key, (0, suspect))
            self._suspects[key] = looks + 1, suspect
        took = time.monotonic() - self._began
        if took > STILL_HELD and self._announced != turn and self.turning:
            self._announced = turn
            self._report("the loop is held", took, self._wait.seconds() - self._waited_before)

    # In either

    def _start_timer(self) -> None:
        self._timing = True
        _libc().timerfd_settime(self._timer, 0, _EXPIRY, None)

    def _report(self, event: str, held: float, waited: float) -> None:
        now = time.monotonic()
        if now - self._logged < HOLD_LOG_INTERVAL and held < 2 * self._logged_hold:
            self._unlogged += 1
            return
        self._logged, self._logged_hold, unlogged, self._unlogged = now, held, self._unlogged, 0
        suspects = self._suspects if self._looked_at == self._turns else {}
        _, worst = max(suspects.values(), default=(0, Suspect("unknown", (), "")), key=lambda each: each[0])
        fields = {
            **dict(worst.fields),
            "seconds": round(held, 3),
            "handler": worst.handler,
            "at": worst.places or None,
            "processor_wait": round(waited, 3) if waited >= 0.001 else None,
            "more_holds": unlogged or None,
        }
        self._log.warning(event, **fields)


class ProcessorWait:
    """For how long the calling thread has been ready to run and had no processor (proc_pid_schedstat(5))."""

    def __init__(self) -> None:
        try:
            path = f"/proc/self/task/{threading.get_native_id()}/schedstat"
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._file = -1  # this kernel does not count it

    def seconds(self) -> float:
        """Return the time so far; zero if it is unknown. May be called in any thread."""
        try:
            return 0.0 if self._file < 0 else int(os.pread(self._file, 128, 0).split()[1]) / 1e9
        except (OSError, IndexError, ValueError):
            return 0.0

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


@functools.cache
def _libc() -> ctypes.PyDLL:
    # Python has timers of this kind since 3.13. PyDLL keeps the interpreter's lock: the calls do not block.
    return ctypes.PyDLL(None, use_errno=True)


_EXPIRY: Final = (ctypes.c_long * 4)(0, 0, 0, round(LOOK_INTERVAL * 1e9))
"""struct itimerspec (timerfd_settime(2)): no interval, one expiry."""


class WatchedTurn:
    """A piece of work in the loop. See `LoopWatch.turn`."""

    __slots__ = ("_before", "_label", "_outermost", "_watch")

    def __init__(self, watch: LoopWatch, label: Suspect) -> None:
        self._watch = watch
        self._label = label

    def __enter__(self) -> None:
        watch = self._watch
        self._before, watch.label = watch.label, self._label
        self._outermost = not watch.turning
        if self._outermost:
            watch.begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._watch.label = self._before
        if self._outermost:
            self._watch.end()


def suspect_in(frame: FrameType, loop: asyncio.AbstractEventLoop, label: Suspect | None = None) -> Suspect:
    """Return what a loop's stack says about who holds it, from its innermost `frame`. A `label` takes precedence."""
    frames = list(_inside_callback(frame))
    fields: dict[str, LogValue] = {}
    for each in reversed(frames):
        fields.update(_fields_of(each))
    task = asyncio.current_task(loop)
    if not fields and task is not None:
        fields["task"] = task.get_name()
    ours = [each for each in frames if _module(each).startswith(_OURS)]
    shown = ours[:MAX_PLACES] if frames[0] in ours[:1] else [frames[0], *ours[: MAX_PLACES - 1]]
    handler = _qualified_name((ours or frames)[-1])
    if label is not None:
        handler, fields = label.handler, {**fields, **dict(label.fields)}
    return Suspect(
        handler,
        tuple(fields.items()),
        " < ".join(f"{_module(each)}:{each.f_lineno} {each.f_code.co_qualname}" for each in shown),
    )


def _inside_callback(frame: FrameType) -> Iterator[FrameType]:
    """Yield the frames of the callback that the loop runs, innermost first."""
    at: FrameType | None = frame
    while at is not None:
        yield at
        at = at.f_back
        if at is not None and at.f_code.co_name == "_run" and _module(at) == "asyncio.events":
            return


def _fields_of(frame: FrameType) -> Mapping[str, LogValue]:
    names = frame.f_code.co_varnames
    found: dict[str, LogValue] = {}
    if "self" in names and isinstance(actor := frame.f_locals.get("self"), Attributable):
        found.update(actor.acts_for)
    if "message" in names and isinstance(kind := getattr(frame.f_locals.get("message"), "type", None), str):
        found["message"] = kind
    return found


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _qualified_name(frame: FrameType) -> str:
    return f"{_module(frame)}.{frame.f_code.co_qualname}"
