"""Jobs have unique names, and the outcome of each is reported once."""

from __future__ import annotations

import pytest

from farhand_client.repl.host_connection import HostConnection
from farhand_client.repl.jobs import SHARED_JOB_NAME_LENGTH, Jobs, describe_outcome
from farhand_client.ui.printing import print_message
from farhand_protocol.outcome import Exited, Killed, Outcome, Signaled, TimedOut

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
