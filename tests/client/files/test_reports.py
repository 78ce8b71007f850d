"""Events are counted in the thread, queued for who follows, and add up over all attempts."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from farhand_client import Begun, Finished, Found, Moved, Removed, Skipped, Transferred, Trouble
from farhand_client.files.reports import MAX_QUEUED_EVENTS, MAX_REPORTED_DIGESTS, MAX_REPORTED_ERRORS, Reports
from farhand_files.events import Event, Totals


class Following:
    """Reports, and what the event loop would be called for."""

    def __init__(self, *, on: bool = True) -> None:
        self.calls: list[Callable[[], None]] = []
        self.delivered: list[Event] = []
        self.reports = Reports(self.calls.append, self._deliver)
        self.reports.follow(on=on)

    def _deliver(self) -> None:
        while (event := self.reports.take()) is not None:
            self.delivered.append(event)

    def turn(self) -> list[Event]:
        """Turn the loop once and return what was delivered."""
        calls, self.calls[:] = list(self.calls), []
        for call in calls:
            call()
        delivered, self.delivered = self.delivered, []
        return delivered


def finished(name: bytes, size: int, sent: int | None = None) -> Finished:
    sent = size if sent is None else sent
    return Finished(name, size, sent, size - sent, name[:1] * 32)


def totals(**values: int) -> Totals:
    made = Totals()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def test_who_follows_gets_every_event_in_order_and_the_loop_is_called_once_for_many() -> None:
    following = Following()
    events: list[Event] = [Found(b"a", 0, 3), Begun(b"a", 3, 0), Moved(b"a", 3, 3), finished(b"a", 3), Skipped(b"b", 1)]
    for event in events:
        following.reports.report(event)
    assert len(following.calls) == 1
    assert following.turn() == events
    following.reports.report(events[0])
    assert following.turn() == events[:1]


def test_of_the_progress_of_one_file_only_the_last_is_queued() -> None:
    following = Following()
    for done in (1, 2, 3):
        following.reports.report(Moved(b"a", done, done))
    following.reports.report(Moved(b"b", 1, 1))
    following.reports.report(Moved(b"a", 4, 4))
    assert following.turn() == [Moved(b"a", 3, 3), Moved(b"b", 1, 1), Moved(b"a", 4, 4)]


def test_only_events_of_the_kinds_that_are_wanted_are_queued_and_all_are_counted() -> None:
    following = Following()
    following.reports.follow(on=True, kinds=frozenset({Trouble}))
    trouble = Trouble(b"b", 13, "Permission denied", False)
    for event in (Found(b"a", 0, 3), finished(b"a", 3), trouble):
        following.reports.report(event)
    assert following.turn() == [trouble]
    assert following.reports.result(None, 1.0).files == 1


def test_nothing_is_queued_while_nobody_follows() -> None:
    following = Following(on=False)
    following.reports.report(finished(b"a", 3))
    assert (following.calls, following.turn()) == ([], [])
    assert following.reports.result(None, 0).files == 1


def test_a_slow_reader_makes_the_transfer_wait() -> None:
    following = Following()
    reported = 0

    def report() -> None:
        nonlocal reported
        for at in range(2 * MAX_QUEUED_EVENTS):
            following.reports.report(Skipped(b"%d" % at, 0))
            reported += 1

    thread = threading.Thread(target=report)
    thread.start()
    taken = 0
    while taken < 2 * MAX_QUEUED_EVENTS:
        assert reported <= taken + MAX_QUEUED_EVENTS + 1
        taken += following.reports.take() is not None
    thread.join(20)
    assert reported == 2 * MAX_QUEUED_EVENTS


def test_a_waiting_thread_is_released() -> None:
    following = Following()
    for at in range(MAX_QUEUED_EVENTS):
        following.reports.report(Skipped(b"%d" % at, 0))
    thread = threading.Thread(target=lambda: following.reports.report(Skipped(b"last", 0)))
    thread.start()
    following.reports.release()
    thread.join(20)
    assert not thread.is_alive()


def test_a_loop_that_is_closed_does_no_harm() -> None:
    def call(function: Callable[[], None]) -> None:
        raise RuntimeError("Event loop is closed")

    reports = Reports(call, lambda: None)
    reports.follow(on=True)
    reports.report(Skipped(b"a", 0))


def test_the_result_is_that_of_the_receiver_with_digests_and_errors() -> None:
    reports = Following(on=False).reports
    reports.report(Finished(b"a", 3, 2, 1, b"\xab" * 32, b"\xcd" * 32))
    trouble = Trouble(b"b", 13, "permission denied", remote=True)
    reports.report(trouble)
    done = reports.result(totals(files=1, bytes=3, sent=2, kept=1, others=4, deleted=5, skipped=6, failed=1), 1.5)
    assert done == Transferred(
        files=1, bytes=3, sent=2, kept=1, others=4, deleted=5, skipped=6, failed=1, seconds=1.5, errors=(trouble,),
        digests={b"a": "ab" * 32}, sha256={b"a": "cd" * 32},
    )  # fmt: skip
    assert done.digest == "ab" * 32


def test_a_notice_is_no_error() -> None:
    reports = Following(on=False).reports
    reports.report(Trouble(b"log", 0, "this has grown", remote=False))
    done = reports.result(None, 0)
    assert (done.failed, done.errors) == (0, ())


def test_what_is_kept_for_the_result_is_bounded() -> None:
    reports = Following(on=False).reports
    for at in range(MAX_REPORTED_DIGESTS + 5):
        reports.report(finished(b"%d" % at, 1))
    for at in range(MAX_REPORTED_ERRORS + 5):
        reports.report(Trouble(b"%d" % at, 5, "no", remote=False))
    done = reports.result(None, 0)
    assert (len(done.digests), len(done.errors), done.more_errors) == (MAX_REPORTED_DIGESTS, MAX_REPORTED_ERRORS, 5)
    assert (done.files, done.failed, done.digest) == (MAX_REPORTED_DIGESTS + 5, MAX_REPORTED_ERRORS + 5, "")


def test_a_file_that_an_earlier_attempt_has_put_in_place_counts_once_and_as_transferred() -> None:
    reports = Following(on=False).reports
    reports.report(Skipped(b"old", 1))
    reports.report(finished(b"a", 10))
    assert reports.attempt_failed(), "it has done something"
    reports.report(Skipped(b"old", 1))
    reports.report(Skipped(b"a", 10))
    reports.report(finished(b"b", 1000))
    done = reports.result(totals(files=1, bytes=1000, sent=1000, skipped=2), 0)
    assert (done.files, done.bytes, done.sent, done.skipped) == (2, 1010, 1010, 1)
    assert set(done.digests) == {b"a", b"b"}


def test_what_earlier_attempts_have_sent_of_a_file_counts_as_sent_and_not_as_kept() -> None:
    reports = Following(on=False).reports
    for kept, moved in ((100, 300), (500, 100)):  # 400 had arrived of the first attempt, and 100 of the second
        reports.report(Begun(b"b", 1000, kept))
        reports.report(Moved(b"b", kept + moved, moved))
        reports.attempt_failed()
    reports.report(Begun(b"c", 10, 0))
    reports.attempt_failed()
    reports.report(Begun(b"b", 1000, 590))  # the end of the second attempt has not arrived
    reports.report(finished(b"b", 1000, sent=410))
    done = reports.result(totals(files=1, bytes=1000, sent=410, kept=590), 0)
    assert (done.sent, done.kept) == (400 + 100 + 410, 100)


@pytest.mark.parametrize("named", [b"sub/a", b"/home/me/in/sub/a"])
def test_a_file_that_has_failed_is_not_under_way_however_it_is_named(named: bytes) -> None:
    reports = Following(on=False).reports
    reports.report(Begun(b"sub/a", 1000, 0))
    reports.report(Moved(b"sub/a", 700, 700))
    reports.report(Trouble(named, 28, "no space left on device", remote=False))
    reports.attempt_failed()
    reports.report(Begun(b"sub/a", 1000, 600))
    reports.report(finished(b"sub/a", 1000, sent=400))
    done = reports.result(totals(files=1, bytes=1000, sent=400, kept=600), 0)
    assert (done.sent, done.kept) == (700 + 400, 600)


def test_what_was_not_sent_before_a_run_was_lost_does_not_count() -> None:
    reports = Following(on=False).reports
    reports.report(Begun(b"a", 1000, 0))
    reports.report(Moved(b"a", 700, 700))
    reports.attempt_failed(unsent=100)
    reports.report(Begun(b"a", 1000, 600))
    reports.report(finished(b"a", 1000, sent=400))
    done = reports.result(totals(files=1, bytes=1000, sent=400, kept=600), 0)
    assert (done.sent, done.kept) == (1000, 0)


def test_headers_of_frames_that_were_not_sent_are_no_bytes_of_files() -> None:
    reports = Following(on=False).reports
    reports.report(Begun(b"a", 1000, 0))
    reports.report(Moved(b"a", 700, 700))
    reports.attempt_failed(unsent=100 + 17)
    reports.report(Begun(b"a", 1000, 600))
    reports.report(finished(b"a", 1000, sent=400))
    done = reports.result(totals(files=1, bytes=1000, sent=400, kept=600), 0)
    assert (done.sent, done.kept) == (1000, 0)


def test_a_file_that_is_sent_again_counts_once() -> None:
    reports = Following(on=False).reports
    reports.report(finished(b"a", 10))
    reports.attempt_failed()
    reports.report(finished(b"a", 10))
    done = reports.result(totals(files=1, bytes=10, sent=10), 0)
    assert (done.files, done.bytes, done.sent, done.skipped) == (1, 10, 20, 0)


def test_errors_of_an_earlier_attempt_are_forgotten_and_what_was_deleted_is_not() -> None:
    reports = Following(on=False).reports
    assert not reports.attempt_failed()
    reports.report(Trouble(b"a", 5, "the disk is gone", remote=True))
    reports.report(Removed(b"b"))
    reports.attempt_failed()
    done = reports.result(totals(deleted=1), 0)
    assert (done.failed, done.errors, done.deleted) == (0, (), 2)


def test_what_was_done_is_known_without_totals() -> None:
    reports = Following(on=False).reports
    reports.report(finished(b"a", 10))
    reports.attempt_failed()
    reports.report(Skipped(b"a", 10))
    reports.report(Moved(b"b", 7, 7))
    reports.report(Trouble(b"b", 16, "it has changed", remote=True))
    reports.report(Removed(b"c"))
    done = reports.result(None, 0)
    assert (done.files, done.bytes, done.sent, done.failed, done.deleted) == (1, 10, 17, 1, 1)
