"""A limit that had no effect is not passed over, and one that may explain a failure is mentioned."""

from __future__ import annotations

import pytest

from farhand_client import Exited, Killed, Signaled
from farhand_client.results import Result
from farhand_client.ui.limits import limit_notes
from farhand_protocol import messages as m
from farhand_protocol.outcome import Outcome


def notes(limits: m.Bounds | None, applied: m.AppliedBounds | None, outcome: Outcome | None = None) -> list[str]:
    return limit_notes(limits, Result(outcome or Exited(code=0), "id", 1.0, 0, 0, False, applied=applied))


def test_a_limit_that_was_not_enforced_is_named() -> None:
    limits = m.Bounds(processes=5, files=3)
    (note,) = notes(limits, m.AppliedBounds(files="rlimit"))
    assert note.startswith("the limit processes was not enforced: the kernel does not limit root")
    (note,) = notes(m.Bounds(file_size=5), m.AppliedBounds())
    assert note == "the limit file-size was not enforced: the service does not say why"


@pytest.mark.parametrize(
    ("limits", "applied"),
    [
        (None, m.AppliedBounds()),
        (m.Bounds(processes=5), None),
        (m.Bounds(processes=5), m.AppliedBounds(processes="cgroup")),
        (m.Bounds(memory=1), m.AppliedBounds(memory="rlimit")),
    ],
)
def test_nothing_is_said_if_all_is_well_or_nothing_is_known(
    limits: m.Bounds | None, applied: m.AppliedBounds | None
) -> None:
    assert notes(limits, applied) == []


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Signaled(signal=11), True),
        (Signaled(signal=6), True),
        (Signaled(signal=15), False),
        (Exited(code=139), True),
        (Exited(code=134), True),
        (Exited(code=127), True),
        (Exited(code=1), False),
        (Killed(reason="memory", signal=9), False),
    ],
)
def test_a_failure_that_lack_of_memory_may_explain_is_explained(outcome: Outcome, said: bool) -> None:
    limits = m.Bounds(memory=1 << 20)
    found = notes(limits, m.AppliedBounds(memory="rlimit"), outcome)
    assert [note.partition(":")[0] for note in found] == (["the command may have lacked memory"] if said else [])
    assert notes(limits, m.AppliedBounds(memory="cgroup"), outcome) == []
