"""The loop's time, shared fairly among users: who may act on what it has received, or send, and for how long.

One loop serves everybody, so what one user keeps it busy with, all others wait for. Each user has a share of each turn
of the loop, however many connections the user has: `TURN_TIME`. What has to wait is queued for each user, and users
take turns. A user who is alone has all the time that nobody else wants, in longer slices.

    share = shares.of("ada")
    if share.left() > 0: …work…; share.spend(seconds)
    else: share.wait(go_on)                  # called in a later turn, when it is this user's turn
    share.decode(work, go_on)                # the same for work that takes long and can be done in a thread
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

from ..runtime import block_all_signals

TURN_TIME: Final = 0.001
"""Seconds of one turn of the loop for each user. A command needs up to twenty turns from its request to its end, so a
user who floods the service delays another's by 20 ms; acting on one frame takes microseconds, so that a slice holds
tens or hundreds. A user who is alone has `MAX_WAITING_TIME`."""

MAX_OWED: Final = 0.020
"""Seconds that a user may owe: what one step, such as the launch of a program (2 ms), took beyond the share of its turn
is taken from the next ones. More would only punish a user for a slow disk."""

ALONE_AFTER: Final = 1.0
"""Seconds without anybody else after which a user is alone. Then more starts and ends of runs share a transaction: with
16 runs at a time, a run costs a fifth less. Whoever comes next waits for one longer turn, once."""

MAX_WAITING_TIME: Final = 0.010
"""Seconds of one turn for all users together who had to wait. Beyond this, users take turns from turn to turn, so that
many of them do not make a turn of the loop long."""

MAX_ARRIVING: Final = 8 << 20
"""Bytes of large messages that may be arriving at once for each user: two of the largest. The connections of further
ones are not read from until these are complete, or their connections lost."""

DECODE_REST: Final = 3
"""After a large message was decoded, the user's next one waits for this many times as long: the thread shares the
interpreter with the loop, and a user may have a quarter of it."""


class TimeShare:
    """One user's share. It is also the `LoopTime` of the user's connections."""

    def __init__(self, shares: TimeShares) -> None:
        self._shares = shares
        self._turn = -1
        self._spent = 0.0
        self._spent_at = 0.0
        self._allowed = TURN_TIME
        """Seconds of this turn, when `left` was last asked."""
        self._waiting: deque[Callable[[], None]] = deque()
        self._large: deque[tuple[Callable[[], None], Callable[[], None]]] = deque()
        self._decoding = False
        self._arriving = 0
        self._reserving: deque[tuple[int, Callable[[], None]]] = deque()
        self._granting = False
        self.queued = False
        """Whether `TimeShares` will let it go on."""

    def left(self) -> float:
        """Return the seconds that the user may use in this turn of the loop; 0 or less if none."""
        shares = self._shares
        if self._turn != shares.turn:
            self._begin_turn()
        self._allowed = shares.turn_time(self)
        return self._allowed - self._spent

    def spend(self, seconds: float) -> None:
        """Record that the user has used so many seconds in this turn."""
        shares = self._shares
        if self._turn != shares.turn:
            self._begin_turn()
        self._spent = min(self._spent + seconds, MAX_OWED)
        self._spent_at = shares.now()
        # Turns are only counted while that matters, from the middle of a slice on: a needless turn of the loop costs
        # 8 µs.
        if 2 * self._spent > self._allowed:
            shares.count_turn()

    def _begin_turn(self) -> None:
        """Forget what was spent in earlier turns, except for what is owed: it is paid by each turn and by waiting."""
        shares = self._shares
        if self._spent:
            paid = max((shares.turn - self._turn) * self._allowed, shares.now() - self._spent_at)
            self._spent = max(0.0, self._spent - paid)
        self._turn = shares.turn

    def wait(self, go_on: Callable[[], None]) -> None:
        """Call `go_on` in a later turn, after what already waits for this user."""
        self._waiting.append(go_on)
        self._shares.wait(self)

    def reserve(self, size: int, granted: Callable[[], None]) -> bool:
        """Reserve memory for a large message; return whether there is any. If not, call `granted` when there is."""
        if self._reserving or not self._has_room(size):
            self._reserving.append((size, granted))
            return False
        self._arriving += size
        return True

    def give_back(self, size: int) -> None:
        """Give back what was reserved, and let those go on that it is enough for."""
        self._arriving -= size
        if self._granting:
            return  # whose connection was lost while waiting gives back at once, and the call that grants it goes on
        self._granting = True
        try:
            while self._reserving and self._has_room(self._reserving[0][0]):
                next_size, granted = self._reserving.popleft()
                self._arriving += next_size
                granted()
        finally:
            self._granting = False

    def _has_room(self, size: int) -> bool:
        return not self._arriving or self._arriving + size <= MAX_ARRIVING

    def decode(self, decode: Callable[[], None], go_on: Callable[[], None]) -> None:
        """Call `decode` in a thread when it is this user's turn, then `go_on` in the loop."""
        self._large.append((decode, go_on))
        if not self._decoding:
            self._decode_next()

    def go_on(self) -> bool:
        """Let what waits continue until the user's time is used up; return whether more waits."""
        for _ in range(len(self._waiting)):
            if self.left() <= 0:
                break
            self._waiting.popleft()()
        return bool(self._waiting)

    def _decode_next(self) -> None:
        self._decoding = bool(self._large)
        if self._decoding:
            decode, go_on = self._large.popleft()
            job = asyncio.get_running_loop().run_in_executor(self._shares.executor, _timed, decode)
            job.add_done_callback(partial(self._decoded, go_on))

    def _decoded(self, go_on: Callable[[], None], job: asyncio.Future[float]) -> None:
        rest = 0.0 if job.cancelled() or job.exception() is not None else DECODE_REST * job.result()
        asyncio.get_running_loop().call_later(rest, self._decode_next)
        self.wait(go_on)  # after an error, it is the one who goes on that meets it


class TimeShares:
    """The shares of all users of one loop."""

    def __init__(self) -> None:
        self.turn = 0
        """The number of the loop's current turn, as far as turns were counted."""
        self._shares: WeakValueDictionary[str, TimeShare] = WeakValueDictionary()
        self._waiting: deque[TimeShare] = deque()
        self._counting = False
        self._last: TimeShare | None = None
        """Whose share was used last."""
        self._shared_until = 0.0
        self._executor: ThreadPoolExecutor | None = None
        self._clock: Callable[[], float] = time.monotonic

    def of(self, name: str) -> TimeShare:
        """Return the share of this name: the same one for all who ask while somebody keeps it."""
        self._clock = asyncio.get_running_loop().time
        share = self._shares.get(name)
        if share is None:
            share = self._shares[name] = TimeShare(self)
        return share

    def now(self) -> float:
        """Return the loop's time."""
        return self._clock()

    def turn_time(self, share: TimeShare) -> float:
        """Return the seconds of this turn for a share that is being used."""
        now = self._clock()
        if share is not self._last:
            if self._last is not None:
                self._shared_until = now + ALONE_AFTER
            self._last = share
        return TURN_TIME if now < self._shared_until else MAX_WAITING_TIME

    def wait(self, share: TimeShare) -> None:
        """Let a share that waits go on in one of the next turns."""
        if not share.queued:
            share.queued = True
            self._waiting.append(share)
        self.count_turn()

    def count_turn(self) -> None:
        """Begin the next turn when the loop does."""
        if not self._counting:
            self._counting = True
            asyncio.get_running_loop().call_soon(self._next_turn)

    @property
    def executor(self) -> ThreadPoolExecutor:
        """One thread: messages are decoded one after another, so that the memory for one is enough."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, "decode", initializer=block_all_signals)
        return self._executor

    def _next_turn(self) -> None:
        self._counting = False
        self.turn += 1
        loop = asyncio.get_running_loop()
        until = loop.time() + MAX_WAITING_TIME
        for _ in range(len(self._waiting)):
            share = self._waiting.popleft()
            share.queued = False
            try:
                waits = share.go_on()
            except Exception as error:  # noqa: BLE001  # a bug of one connection, which has closed itself; others go on
                loop.call_exception_handler({"message": "a connection could not go on", "exception": error})
                waits = True
            if waits:
                self.wait(share)
            if loop.time() >= until:
                break
        if self._waiting:
            self.count_turn()


def _timed(work: Callable[[], None]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began
