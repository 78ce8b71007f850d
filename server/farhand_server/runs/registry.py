"""All runs of the service: who may start one more, which ids were used, and the tasks that see them to their end."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from .run import Plan, Reason, Result, Run, Watcher

KNOWN_IDS: Final = 100_000
"""Ids of ended runs that are still refused as used: a day of a run a second, in about 15 MB."""


class IdConflict(Exception):
    """A run of this id was started before."""


class TooManyRuns(Exception):
    """As many runs are under way as the configuration allows; the text gives the number."""


class Draining(Exception):
    """The service is going away and starts nothing."""


class Registry:
    """Owns every run. A run leaves it when its outcome is known and its processes are gone."""

    def __init__(self, on_end: Callable[[Run, Result], None], on_failure: Callable[[Run, Exception], None]) -> None:
        self._runs: dict[str, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._draining = False
        self._on_end = on_end
        self._on_failure = on_failure
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._runs)

    def start(self, plan: Plan, watcher: Watcher, *, max_runs: int) -> Run:
        """Start a run and return it at once; what becomes of it is told to `watcher`.

        Raises `Draining`, `IdConflict` or `TooManyRuns`.
        """
        if self._draining:
            raise Draining("the service is going away and starts no new runs; try again in a moment")
        if plan.id in self._runs or plan.id in self._ended:
            raise IdConflict(f"a run with the id {plan.id} was started before")
        if len(self._runs) >= max_runs:
            raise TooManyRuns(f"{max_runs} runs are under way, and this service takes no more at once (runs.max_runs)")
        run = self._runs[plan.id] = Run(plan, watcher)
        self._idle.clear()
        task = asyncio.create_task(self._see_to_the_end(run), name=f"run {plan.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return run

    def refuse_new(self) -> None:
        """Start no more runs from now on."""
        self._draining = True

    def stop_all(self, reason: Reason, *, kill_after: float) -> None:
        """Stop every run that is under way, with its own grace but at most `kill_after` seconds."""
        for run in tuple(self._runs.values()):
            run.stop(reason, min(run.plan.kill_after, kill_after))

    async def idle(self) -> None:
        """Wait until no run is under way."""
        await self._idle.wait()

    async def _see_to_the_end(self, run: Run) -> None:
        try:
            result = await run.execute()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is this run's fault alone, and the log has it
            self._on_failure(run, error)
        else:
            self._on_end(run, result)
        finally:
            del self._runs[run.plan.id]
            self._ended[run.plan.id] = None
            if len(self._ended) > KNOWN_IDS:
                self._ended.popitem(last=False)
            if not self._runs:
                self._idle.set()
