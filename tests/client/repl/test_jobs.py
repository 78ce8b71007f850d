"""Jobs have names that tell them apart, and their ends are told once."""

from __future__ import annotations

import pytest

from farhand_client.repl.host_connection import HostConnection
from farhand_client.repl.jobs import SHOWN_OF_SEVERAL, Jobs, word
from farhand_client.ui.printing import print_message
from farhand_protocol.outcome import Exited, Killed, Outcome, Signaled, TimedOut

FIRST = "01a1fc79-3b2c-7abc-8def-000000000001"
LIKE_FIRST = "01a1fc79-3b2c-7abd-8def-000000000002"
OTHER = "01a1fc80-0000-7000-8000-000000000003"


@pytest.fixture
def jobs() -> Jobs:
    """Those of a host that is not connected."""
    return Jobs(HostConnection("web", lambda watch: pytest.fail("nobody connects"), print_message))


def test_a_name_is_as_much_of_the_id_as_tells_it_from_the_others(jobs: Jobs) -> None:
    assert jobs.add(FIRST, "make").name == "01a1fc79-3b2c"
    assert jobs.add(LIKE_FIRST, "make").name == "01a1fc79-3b2c-7abd"
    assert jobs.add(OTHER, "make").name == "01a1fc80-0000"
    assert jobs.add(FIRST, "make").name == "01a1fc79-3b2c", "it has a name"


def test_names_are_longer_where_several_hosts_begin_at_once(jobs: Jobs) -> None:
    jobs.shown = SHOWN_OF_SEVERAL
    assert jobs.add(FIRST, "make").name == "01a1fc79-3b2c-7abc"


def test_an_end_is_told_once(jobs: Jobs) -> None:
    jobs.add(FIRST, "make -j8 &").ended = "exited 3"
    jobs.add(OTHER, "sleep 9 &")
    assert jobs.news() == ["[01a1fc79-3b2c] exited 3: make -j8 &"]
    assert jobs.news() == []
    assert [job.id for job in jobs.going] == [OTHER]


def test_nothing_is_told_of_what_is_forgotten(jobs: Jobs) -> None:
    jobs.add(FIRST, "make").ended = "done"
    assert jobs.forget(FIRST)
    assert not jobs.forget(FIRST)
    assert jobs.news() == []


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
def test_an_end_is_a_word_or_two(outcome: Outcome, said: str) -> None:
    assert word(outcome) == said
