"""Stops runs: the stop ladder TERM → grace → KILL, and the timeouts that start it.

Neither class knows about runs. The ladder uses callbacks to ask processes to end and to kill them; the timeouts use a
callback to start the ladder. All times are on the monotonic clock.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from .output.spool import Spool
from .plan import Plan, StopReason
from .process.process import Process


class StopLadder:
    """Ends a run: asks its processes to end, and kills the remaining ones after a grace period.

    Of several requests, the first determines the reason; a later one can only shorten the grace period. A request made
    before the program runs takes effect once it does.
    """

    def __init__(self) -> None:
        self.reason: StopReason | None = None
        self.message: str | None = None
        """A sentence about the reason, for the user."""
        self.kill_at: float = math.inf
        self._ask: Callable[[], None] | None = None
        self._kill: Callable[[], object] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def request(self, reason: StopReason, grace: float, message: str | None = None) -> None:
        """Stop the run: ask its processes to end now, and kill them after `grace` seconds."""
        kill_at = time.monotonic() + grace
        sooner = kill_at < self.kill_at
        self.kill_at = min(kill_at, self.kill_at)
        first = self.reason is None
        if first:
            self.reason, self.message = reason, message
        if self._ask is None:
            return
        if first:
            self._ask()
        if first or sooner:
            self._arm()

    def connect(self, ask: Callable[[], None], kill: Callable[[], object]) -> None:
        """Start acting on a program that now runs, using these callbacks to ask its processes to end and to kill them.

        If a stop has already been requested, this happens at once."""
        self._ask, self._kill = ask, kill
        if self.reason is not None:
            ask()
            self._arm()

    def restore(
        self,
        reason: StopReason | None,
        message: str | None,
        kill_at: float | None,
        ask: Callable[[], None],
        kill: Callable[[], object],
    ) -> None:
        """Continue the ladder of the previous program. Processes that it has asked to end are not asked again."""
        self.reason, self.message, self._ask, self._kill = reason, message, ask, kill
        if kill_at is not None:
            self.kill_at = kill_at
            self._arm()

    async def grace_over(self, process: Process) -> None:
        """Wait until all of the run's processes have ended, or are killed."""
        try:
            async with asyncio.timeout(max(0.0, self.kill_at - time.monotonic())):
                await process.tree_ended()
        except TimeoutError:
            pass
        except OSError:  # nothing is left to wait with
            await asyncio.sleep(max(0.0, self.kill_at - time.monotonic()))

    def close(self) -> None:
        """Stop acting: the program has ended, so nothing is left to ask or kill."""
        self._ask = self._kill = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        assert self._kill is not None
        delay = max(0.0, self.kill_at - time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(delay, self._kill)


class Timeouts:
    """The total and the idle timeout of a plan. `stop` is called with `timed_out` or `idle`."""

    def __init__(self, plan: Plan, spools: tuple[Spool, Spool], stop: Callable[[StopReason], None]) -> None:
        self._idle_timeout = plan.idle_timeout
        self._spools = spools
        self._stop = stop
        self._total: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None

    @property
    def times_out(self) -> float | None:
        """When the total timeout is due; None if the plan has none, or if it was stopped before it began."""
        return None if self._total is None else self._total.when()

    def start_total(self, when: float) -> None:
        """Call `stop` with `timed_out` at `when`."""
        delay = max(0.0, when - time.monotonic())
        self._total = asyncio.get_running_loop().call_later(delay, self._stop, "timed_out")

    def start_idle(self) -> None:
        """Call `stop` with `idle` once there has been no output for the plan's idle timeout, if it has one."""
        if self._idle_timeout is not None:
            self._arm_idle(self._last_output(), self._idle_timeout)

    def close(self) -> None:
        """Never call `stop` again: the program has ended."""
        for timer in (self._total, self._idle):
            if timer is not None:
                timer.cancel()

    def _last_output(self) -> float:
        return max(spool.touched for spool in self._spools)

    def _arm_idle(self, since: float, timeout: float) -> None:
        delay = max(0.0, since + timeout - time.monotonic())
        self._idle = asyncio.get_running_loop().call_later(delay, self._check_idle, timeout)

    def _check_idle(self, timeout: float) -> None:
        since = self._last_output()
        if any(spool.full for spool in self._spools):
            since = time.monotonic()  # the program is waiting for a slow reader, so it is not idle
        if time.monotonic() - since >= timeout:
            self._stop("idle")
        else:
            self._arm_idle(since, timeout)
