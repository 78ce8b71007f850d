"""A run that the direct path hands over."""

from __future__ import annotations

from farhand_client.handover import Handover, LostConnection


def test_a_run_of_which_nothing_is_known_begins_at_the_beginning() -> None:
    handover = Handover({"type": "run"}, {}, {})
    assert [(each.written, each.unwritten, each.discarded) for each in handover.streams.values()] == [
        (0, [], False)
    ] * 2
    assert (handover.stdin_offset, handover.stdin, handover.stdin_over, handover.stdin_ended) == (0, [], False, False)
    assert (handover.started, handover.lost, handover.final, handover.failure) == (None, None, None, None)
    assert (handover.interrupted, handover.output_closed, handover.ended_by) == (False, False, 0)
    assert handover.release_signals() == []


def test_without_a_reason_the_service_has_closed_the_connection() -> None:
    assert LostConnection() == LostConnection(code=None, text="", broken=False, silence=None, error=None)
