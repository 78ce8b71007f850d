"""The queue in front of the launches: accounts take turns, with a few launches in each turn of the event loop.

A launch holds the loop for one or two milliseconds, until the program is executed (vfork(2)). Without turns, a client
that requests 256 runs at once would hold up everybody for half a second; with them, another account's run is launched
after a few launches, at most one more of each other account, and everything else goes on in between. What an account
has used of its share of the loop's time is taken from its launches: while others are active, an account launches one
run at a time, and lets the loop turn after it.

How many runs may wait is bounded by the account's share of runs, because a run that waits counts as active. A rule of
the policy may pace the starts of an account; then a run waits for no more than `MAX_START_WAIT` seconds, or is refused.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from farhand_protocol.loop_time import LoopTime, OwnTime
from farhand_server.sharing import Tally, TokenBucket

from .plan import RuleShare

LAUNCHES_PER_TURN: Final = 4
"""Launches in one turn of the loop: 4 to 8 ms. With one, each start would have a transaction of its own in the history,
which costs a fifth of its time."""

LAUNCH_TIME: Final = 0.002
"""Seconds that a launch is taken to need before it is known: an account that has less time left in this turn of the
loop, because others are active, launches only one in it."""

MAX_LAUNCHES: Final = 8
"""Launches of one account that may be under way at once. They take turns anyway; only one that has to wait for the
account's own file system takes longer, and it holds up nobody else's."""

MAX_START_WAIT: Final = 10.0
"""Seconds for which a start may wait because of a rule's pace. Whoever wants more than the rule allows should be told,
rather than wait for a queue that only grows."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A run that waits to be launched by calling `launch`."""

    run_id: str
    rule: RuleShare
    launch: Callable[[], None]


class StartQueue:
    """Launches runs in turn by account, which is a uid. `time_of` returns an account's share of the loop's time."""

    def __init__(self, time_of: Callable[[int], LoopTime] | None = None) -> None:
        self._time_of = time_of or _own_time
        self._resting: dict[int, LoopTime] = {}
        """Accounts that have used up their share of this turn of the loop."""
        self._launched: Counter[int] = Counter()
        """The launches of each account in this turn, for which `spend` has not been called yet."""
        self._by_rule: Tally[tuple[int, str]] = Tally()
        self._waiting: OrderedDict[tuple[int, str], deque[_Waiting]] = OrderedDict()
        """The runs of each account that wait; whose turn it is comes first. Those of a rule with a pace wait apart, so
        that they do not hold up the others."""
        self._under_way: dict[int, set[str]] = {}
        self._paces: dict[tuple[int, str], TokenBucket] = {}
        self._paced = True
        self._timer: asyncio.Handle | None = None

    def add(self, uid: int, run_id: str, rule: RuleShare, launch: Callable[[], None]) -> None:
        """Call `launch` when it is the account's turn, at once if nothing waits. `launched` must follow."""
        line = (uid, "" if rule.starts is None else rule.name)
        self._waiting.setdefault(line, deque()).append(_Waiting(run_id, rule, launch))
        self._by_rule.add((uid, rule.name))
        if self._timer is None:
            self._turn()

    def launched(self, uid: int, run_id: str) -> None:
        """Handle that a launch is over, also if it has failed. Repeated calls do nothing."""
        under_way = self._under_way.get(uid)
        if under_way is None or run_id not in under_way:
            return
        under_way.discard(run_id)
        if not under_way:
            del self._under_way[uid]
        if self._waiting:
            self._schedule(0.0)

    def spend(self, uid: int, seconds: float) -> None:
        """Record for how long a run of the account has held the loop."""
        self._time_of(uid).spend(seconds)

    def delay(self, uid: int, rule: RuleShare) -> float:
        """Return for how many seconds another start would wait because of the rule's pace."""
        bucket = self._pace_of(uid, rule)
        now = asyncio.get_running_loop().time()
        return 0.0 if bucket is None else bucket.wait(now, self._by_rule.of((uid, rule.name)))

    def stop_pacing(self) -> None:
        """Launch runs without regard to the pace of any rule from now on, because the service is about to stop or to be
        upgraded. `pace` undoes this."""
        self._paced = False
        self._schedule(0.0)

    def pace(self) -> None:
        """Regard the pace of rules again."""
        self._paced = True

    def _turn(self) -> None:
        """Launch the next runs that may be launched now."""
        self._timer = None
        self._launched.clear()
        for _ in range(LAUNCHES_PER_TURN):
            if not self._launch_next():
                return

    def _launch_next(self) -> bool:
        """Launch the run whose turn it is, and return whether there was one."""
        soonest: float | None = None
        for line, waiting in tuple(self._waiting.items()):
            (uid, _), first = line, waiting[0]
            if len(self._under_way.get(uid, ())) >= MAX_LAUNCHES:
                continue  # `launched` continues
            if uid in self._resting or self._must_rest(uid):
                continue  # `_rested` continues
            wait = self._wait(uid, first.rule)
            if wait <= 0:
                self._launch(line)
                return True
            soonest = wait if soonest is None else min(soonest, wait)
        if soonest is not None:
            self._schedule(soonest)
        return False

    def _must_rest(self, uid: int) -> bool:
        """Return whether the account has no time left; then it goes on as soon as it has."""
        share = self._time_of(uid)
        if share.left() > self._launched[uid] * LAUNCH_TIME:
            return False
        self._resting[uid] = share
        share.wait(partial(self._rested, uid))
        return True

    def _rested(self, uid: int) -> None:
        del self._resting[uid]
        self._turn()

    def _launch(self, line: tuple[int, str]) -> None:
        waiting, (uid, _) = self._waiting.pop(line), line
        first = waiting.popleft()
        if waiting:
            self._waiting[line] = waiting
        self._by_rule.remove((uid, first.rule.name))
        self._launched[uid] += 1
        self._under_way.setdefault(uid, set()).add(first.run_id)
        self._schedule(0.0)  # also if nothing waits yet: the next one must not be launched in this turn
        first.launch()

    def _wait(self, uid: int, rule: RuleShare) -> float:
        """Take a start from the rule's pace. Return 0, or the seconds until there is one."""
        bucket, now = self._pace_of(uid, rule), asyncio.get_running_loop().time()
        return 0.0 if bucket is None or bucket.take(now) else bucket.wait(now)

    def _pace_of(self, uid: int, rule: RuleShare) -> TokenBucket | None:
        if rule.starts is None or not self._paced:
            return None
        bucket = self._paces.get((uid, rule.name))
        if bucket is None or bucket.rate != rule.starts:
            now = asyncio.get_running_loop().time()
            self._paces = {key: each for key, each in self._paces.items() if not each.full(now)}
            bucket = self._paces[uid, rule.name] = TokenBucket(rule.starts)
        return bucket

    def _schedule(self, seconds: float) -> None:
        if isinstance(self._timer, asyncio.TimerHandle):
            self._timer.cancel()
        elif self._timer is not None:
            return  # the next turn is due anyway
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, self._turn) if seconds else loop.call_soon(self._turn)


def _own_time(uid: int) -> LoopTime:
    return OwnTime(asyncio.get_running_loop().call_soon)
