"""Jobs have unique names, and the outcome of each is reported once."""

from __future__ import annotations

import asyncio

import pytest

from farhand_client.errors import FarhandError
from farhand_client.options import RunOptions
from farhand_client.repl.host_connection import HostConnection
from farhand_client.repl.hosts import ReplHost
from farhand_client.repl.jobs import JOB_SPOOL, SHARED_JOB_NAME_LENGTH, Jobs, describe_outcome
from farhand_client.ui.printing import print_message
from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Exited, Killed, Lost, Outcome, Signaled, SpawnFailed, TimedOut
from tests.support.fake_listing import info, listing
from tests.support.fake_runs import printing, stoppable
from tests.support.fake_service import Behaviour, FakeRun, FakeService, refusing

FIRST = "01a1fc79-3b2c-7abc-8def-000000000001"
LIKE_FIRST = "01a1fc79-3b2c-7abd-8def-000000000002"
OTHER = "01a1fc80-0000-7000-8000-000000000003"


@pytest.fixture
def jobs() -> Jobs:
    """The jobs of a host that is not connected."""
    return Jobs(HostConnection("web", lambda watch: pytest.fail("nobody connects"), print_message))


def test_a_name_is_the_shortest_unique_part_of_the_id(jobs: Jobs) -> None:
    assert jobs.add(FIRST, "make").name == "01a1fc79-3b2c"
    assert jobs.add(LIKE_FIRST, "make").name == "01a1fc79-3b2c-7abd"
    assert jobs.add(OTHER, "make").name == "01a1fc80-0000"
    assert jobs.add(FIRST, "make").name == "01a1fc79-3b2c", "it has a name"


def test_names_are_longer_if_several_hosts_start_jobs_at_once(jobs: Jobs) -> None:
    jobs.name_length = SHARED_JOB_NAME_LENGTH
    assert jobs.add(FIRST, "make").name == "01a1fc79-3b2c-7abc"


def test_an_outcome_is_reported_once(jobs: Jobs) -> None:
    jobs.add(FIRST, "make -j8 &").ended = "exited 3"
    jobs.add(OTHER, "sleep 9 &")
    assert jobs.take_ended() == ["[01a1fc79-3b2c] exited 3: make -j8 &"]
    assert jobs.take_ended() == []
    assert [job.id for job in jobs.running] == [OTHER]


def test_the_outcome_of_a_forgotten_job_is_not_reported(jobs: Jobs) -> None:
    jobs.add(FIRST, "make").ended = "done"
    assert jobs.forget(FIRST)
    assert not jobs.forget(FIRST)
    assert jobs.take_ended() == []


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Exited(code=0), "done"),
        (Exited(code=3), "exited 3"),
        (Signaled(signal=11), "SIGSEGV"),
        (TimedOut(timeout=1), "timed out"),
        (Killed(signal=15, reason="requested"), "stopped"),
    ],
)
def test_an_outcome_is_described_in_a_word_or_two(outcome: Outcome, said: str) -> None:
    assert describe_outcome(outcome) == said


class TestRuns:
    async def test_a_job_is_kept_and_its_outcome_is_awaited(self, host: ReplHost, service: FakeService) -> None:
        async def behave(run: FakeRun) -> None:
            run.started()
            if run.attach is None:
                await run.lost()
            run.ended(Exited(code=3))

        service.behave = behave
        job = await host.jobs.start(["make"], "make &", RunOptions())
        request = service.runs[0].request
        assert (request.id, request.on_disconnect, request.spool) == (job.id, "keep", JOB_SPOOL)
        assert job.waiting is not None
        await asyncio.wait_for(job.waiting, 10)
        assert host.jobs.take_ended() == [f"[{job.name}] exited 3: make &"]

    @pytest.mark.parametrize(
        ("behave", "reported"),
        [
            (printing(outcome=Exited(code=3)), "exited 3"),
            (refusing(ErrorCode.UNKNOWN_RUN, "there is no such run"), "there is no such run"),
            (
                printing(outcome=SpawnFailed(errno=2, error="ENOENT", what="program", message="No such file")),
                "never ran",
            ),
            (printing(outcome=Lost()), "lost"),
        ],
    )
    async def test_every_outcome_is_reported(
        self, host: ReplHost, service: FakeService, behave: Behaviour, reported: str
    ) -> None:
        service.behave = behave
        await host.connection.connect()
        job = host.jobs.add(FIRST, "make &")
        assert job.waiting is not None
        await asyncio.wait_for(job.waiting, 10)
        assert reported in str(job.ended)

    async def test_waiting_resumes_on_a_new_connection(self, host: ReplHost, service: FakeService) -> None:
        service.behave = stoppable
        await host.connection.connect()
        job = host.jobs.add(FIRST, "make &")
        waiting = job.waiting
        assert waiting is not None
        service.connections[0].cut()
        await asyncio.wait_for(waiting, 10)
        assert (job.waiting, job.ended) == (None, None)
        await host.connection.close()
        await host.connection.connect()
        host.jobs.resume_waiting()
        assert job.waiting is not None
        assert host.jobs.forget(FIRST)
        await asyncio.wait([job.waiting])

    async def test_the_number_of_awaited_jobs_is_limited(
        self, host: ReplHost, service: FakeService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("farhand_client.repl.jobs.MAX_AWAITED_JOBS", 1)
        service.behave = stoppable
        await host.connection.connect()
        assert host.jobs.add(FIRST, "make &").waiting is not None
        assert host.jobs.add(OTHER, "make &").waiting is None
        assert len(host.jobs.running) == 2

    async def test_an_id_is_found_among_jobs_then_among_running_runs_then_among_all(
        self, host: ReplHost, service: FakeService
    ) -> None:
        client = await host.connection.connect()
        host.jobs.add(FIRST, "make &")
        assert await host.jobs.find(client, FIRST[:8]) == FIRST
        assert await host.jobs.find(client, OTHER) == OTHER
        service.answer = listing(info(OTHER))
        assert await host.jobs.find(client, "01a1fc80") == OTHER
        with pytest.raises(FarhandError):
            await host.jobs.find(client, "ffff")
