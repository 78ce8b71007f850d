"""The REPL's jobs: runs in the background, started with `&` or left running. The next prompt reports how each ended."""

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

JOB_SPOOL: Final = 64 * MiB
"""Bytes of each stream that the service keeps of a job, as of a run that `farhand run --detach` starts."""

JOB_NAME_LENGTH: Final = 13
"""Minimum characters of an id that name a job: as in `farhand ps`, where they give the millisecond."""

SHARED_JOB_NAME_LENGTH: Final = 18
"""The same where several hosts start a job in one millisecond: includes 12 random bits."""

MAX_AWAITED_JOBS: Final = 200
"""Jobs whose outcome is awaited, each on a channel of its own, of which a connection has 1024; more than a person keeps
track of."""


@dataclass(slots=True)
class Job:
    """A run in the background. `name` is the shortest part of the id that is unique among the jobs of its host."""

    id: str
    name: str
    text: str
    """The command line."""
    kept: bool = True
    """Whether it goes on without a client; a line that was left at a terminal only does so for a while."""
    ended: str | None = None
    """How it ended, for people; None while that is unknown."""
    waiting: asyncio.Task[None] | None = None


class Jobs:
    """The jobs of one host."""

    def __init__(self, connection: HostConnection) -> None:
        self.name_length = JOB_NAME_LENGTH
        """Minimum characters of the next job's name."""
        self._connection = connection
        self._jobs: dict[str, Job] = {}

    async def start(self, args: Args, text: str, options: RunOptions) -> Job:
        """Start a kept run of the line `text`. Raises what `HostConnection.start` raises."""
        run = await self._connection.start(args, options.changed(on_disconnect="keep", spool=JOB_SPOOL))
        run.detach()
        return self.add(run.id, text)

    def add(self, run_id: str, text: str, *, kept: bool = True) -> Job:
        """Make a run a job if it is none, and wait for its outcome in the background."""
        job = self._jobs.get(run_id)
        if job is None:
            job = self._jobs[run_id] = Job(run_id, self.name(run_id), text, kept)
        client = self._connection.client
        if job.waiting is None and client is not None and client.connected and self._awaited < MAX_AWAITED_JOBS:
            job.waiting = asyncio.ensure_future(self._wait(job, client))
        return job

    def forget(self, run_id: str) -> bool:
        """Stop tracking a run, so that its outcome is not reported; return whether it was a job."""
        job = self._jobs.pop(run_id, None)
        if job is not None and job.waiting is not None:
            job.waiting.cancel()
        return job is not None

    def take_ended(self) -> list[str]:
        """Return a line for each job that has ended, and forget those jobs."""
        ended = [job for job in self._jobs.values() if job.ended is not None]
        for job in ended:
            del self._jobs[job.id]
        return [f"[{job.name}] {job.ended}: {job.text}" for job in ended]

    @property
    def running(self) -> list[Job]:
        """The jobs that are not known to have ended."""
        return [job for job in self._jobs.values() if job.ended is None]

    @property
    def _awaited(self) -> int:
        return sum(job.waiting is not None for job in self._jobs.values())

    def resume_waiting(self) -> None:
        """Wait for running jobs that nothing waits for, since their connection was lost or there were too many."""
        for job in self.running:
            self.add(job.id, job.text)

    async def find(self, client: Client, prefix: str) -> str:
        """Return the id that begins with `prefix`: of a job, else of a running run, else of any other.

        Raises what `Client.info` raises.
        """
        jobs = [job for job in self._jobs.values() if job.id.startswith(prefix)]
        if len(jobs) == 1 or is_run_id(prefix):
            return jobs[0].id if jobs else prefix
        running = await client.runs(prefix=prefix)
        return running[0].id if len(running) == 1 else (await client.info(prefix)).id

    async def close(self) -> None:
        """Stop waiting for outcomes. The jobs keep running."""
        tasks = [job.waiting for job in self._jobs.values() if job.waiting is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _wait(self, job: Job, client: Client) -> None:
        try:
            job.ended = describe_outcome((await client.wait(job.id)).outcome)
        except SpawnError as error:
            job.ended = describe_outcome(error.outcome)
        except ConnectionLost:
            if client.connected:  # the run is lost, not the connection
                job.ended = "lost"
        except FarhandError as error:
            job.ended = str(error)
        finally:
            job.waiting = None

    def name(self, run_id: str) -> str:
        """Return the shortest part of an id that no other job begins with."""
        size = self.name_length
        while any(other[:size] == run_id[:size] for other in self._jobs if other != run_id):
            size += 1
        return run_id[:size]


def describe_outcome(outcome: Outcome) -> str:
    """Return how a run ended in a word or two."""
    from farhand_client.ui.runs import run_state

    return "done" if outcome == Exited(code=0) else run_state(outcome)
