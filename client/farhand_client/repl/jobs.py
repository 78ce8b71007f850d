"""The runs that go on behind the prompt: started here with `&`, or left there. The next prompt says how each ended."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from farhand_client.client import Client
from farhand_client.errors import ConnectionLost, FarhandError, SpawnError
from farhand_client.ids import is_run_id
from farhand_client.options import Args, RunOptions
from farhand_protocol.limits import MiB
from farhand_protocol.outcome import Exited, Outcome

from .host_connection import HostConnection

SPOOL: Final = 64 * MiB
"""Bytes of each stream that are kept of a job: as of a run that `farhand run --detach` starts."""

SHOWN: Final = 13
"""Characters of an id at the least: as in `farhand ps`, where they say the millisecond."""

SHOWN_OF_SEVERAL: Final = 18
"""The same where several hosts are asked in one millisecond: 12 random bits more."""

MOST: Final = 200
"""Jobs whose end is waited for, each on a channel of its own, of which a connection has 1024; more than a person keeps
in mind."""


@dataclass(slots=True)
class Job:
    """`name` is as much of the id as tells it from the other jobs of its host, `ended` how it ended, once that is known
    and until the user was told."""

    id: str
    name: str
    text: str
    ended: str | None = None
    waiting: asyncio.Task[None] | None = None


class Jobs:
    """Those of one host."""

    def __init__(self, link: HostConnection) -> None:
        self.shown = SHOWN
        """Characters of the next job's name at the least."""
        self._link = link
        self._jobs: dict[str, Job] = {}

    async def start(self, args: Args, text: str, options: RunOptions) -> Job:
        """Start a run that is kept, of the line `text`. Raises what `HostConnection.start` raises."""
        run = await self._link.start(args, options.changed(on_disconnect="keep", spool=SPOOL))
        run.detach()
        return self.add(run.id, text)

    def add(self, run_id: str, text: str) -> Job:
        """Wait for the end of a run that is left going."""
        job = self._jobs.get(run_id)
        if job is None:
            job = self._jobs[run_id] = Job(run_id, self.name(run_id), text)
        client = self._link.client
        if job.waiting is None and client is not None and client.connected and self._waited_for < MOST:
            job.waiting = asyncio.ensure_future(self._wait(job, client))
        return job

    def forget(self, run_id: str) -> bool:
        """Say nothing of the end of a run; return whether anything would have been said."""
        job = self._jobs.pop(run_id, None)
        if job is not None and job.waiting is not None:
            job.waiting.cancel()
        return job is not None

    def news(self) -> list[str]:
        """Return a line for each job that has ended and was not told of."""
        ended = [job for job in self._jobs.values() if job.ended is not None]
        for job in ended:
            del self._jobs[job.id]
        return [f"[{job.name}] {job.ended}: {job.text}" for job in ended]

    @property
    def going(self) -> list[Job]:
        """Those of which no end is known."""
        return [job for job in self._jobs.values() if job.ended is None]

    @property
    def _waited_for(self) -> int:
        return sum(job.waiting is not None for job in self._jobs.values())

    def look_again(self) -> None:
        """Wait for those whose end was awaited over a connection that is gone, where there is another."""
        for job in self.going:
            self.add(job.id, job.text)

    async def find(self, client: Client, text: str) -> str:
        """Return the id that begins with `text`: of a job, of a run that goes on, of any other, in this order.

        Raises what `Client.info` raises.
        """
        own = [job for job in self._jobs.values() if job.id.startswith(text)]
        if len(own) == 1 or is_run_id(text):
            return own[0].id if own else text
        going = await client.runs(prefix=text)
        return going[0].id if len(going) == 1 else (await client.info(text)).id

    async def close(self) -> None:
        """Wait for no end any more."""
        tasks = [job.waiting for job in self._jobs.values() if job.waiting is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _wait(self, job: Job, client: Client) -> None:
        try:
            job.ended = word((await client.wait(job.id)).outcome)
        except SpawnError as error:
            job.ended = word(error.outcome)
        except ConnectionLost:
            if client.connected:  # it is the run that is lost, and not the line
                job.ended = "lost"
        except FarhandError as error:
            job.ended = str(error)
        finally:
            job.waiting = None

    def name(self, run_id: str) -> str:
        """Return as much of an id as tells it from the jobs of others."""
        size = self.shown
        while any(other[:size] == run_id[:size] for other in self._jobs if other != run_id):
            size += 1
        return run_id[:size]


def word(outcome: Outcome) -> str:
    """Return how a run ended in a word or two."""
    from farhand_client.ui.runs import run_state

    return "done" if outcome == Exited(code=0) else run_state(outcome)
