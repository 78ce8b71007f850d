"""What a receiver may answer, and what is done with it. `test_sender` has the answers of a receiver that behaves."""

from __future__ import annotations

import socket
import threading

import pytest

from farhand_files import answers, events, wire
from farhand_files.answers import Answers, check_have
from farhand_files.opening import Area
from farhand_files.options import TransferOptions
from farhand_files.pending import ABORTED, QUEUED, SENDING, SENT, PendingFile
from farhand_files.steps import Pipe, Piped
from farhand_files.stream import Cancelled, StreamEnded
from farhand_files.walk import Walk
from tests.support.fake_receiver import SocketStream
from tests.support.transferring import collecting

DIGEST = bytes(range(32))
OPTIONS = TransferOptions("put", (b"/somewhere",))


def pending(number: int, size: int = 3 * wire.CHUNK) -> PendingFile:
    entry = wire.Entry(number, wire.REGULAR, 0o644, 0, 0, 0, size, b"file %d" % number)
    return PendingFile(Piped(entry, Pipe(0, b"file")))


class Received:
    """Answers, and the socket through which they come."""

    def __init__(self, options: TransferOptions = OPTIONS) -> None:
        self.mine, self.other = socket.socketpair()
        self.events: list[events.Event] = []
        self.answers = Answers(SocketStream(self.mine), options, collecting(self.events), pipes=True)
        for number in range(3):
            self.answers.expect(pending(number))
        self.answers.expect_other(wire.Entry(3, wire.DIRECTORY, 0, 0, 0, 0, 0, b"directory"))
        self.thread = threading.Thread(target=self.answers.take_all, daemon=True)
        self.thread.start()

    def after(self, *frames: wire.Frame) -> Answers:
        """Let the receiver send frames and end; return the answers once all were taken."""
        self.other.sendall(b"".join(map(wire.encode, frames)))
        self.other.close()
        self.thread.join(10)
        self.mine.close()
        self.answers.close()
        return self.answers


def refusal(*frames: wire.Frame, state: int | None = None) -> str:
    received = Received()
    if state is not None:
        received.answers.files[0].state = state
    with pytest.raises(wire.WireError) as raised:
        received.after(*frames).check()
    return str(raised.value)


WANT = wire.Want(0, wire.NOTHING, 1)


@pytest.mark.parametrize("number", [3, 4, 1000])
def test_only_files_that_were_sent_are_answered(number: int) -> None:
    for frame in (WANT._replace(number=number), wire.Skip(number), wire.FileDone(number, DIGEST)):
        assert f"entry {number}" in refusal(frame)
    if number > 3:
        assert "which was not sent" in refusal(wire.Failed(number, 5, b""))


def test_each_file_is_answered_once() -> None:
    assert "no file without an answer" in refusal(wire.Skip(0), wire.Skip(0))
    assert "no file without an answer" in refusal(wire.Failed(0, 5, b""), WANT)
    assert "wanted before" in refusal(WANT, WANT)
    assert "which was wanted" in refusal(WANT, wire.Skip(0))
    assert "entry 3, which is no file without an answer" in refusal(wire.Skip(0, 4))


@pytest.mark.parametrize("state", [QUEUED, SENDING, ABORTED])
def test_nothing_is_done_before_it_was_sent(state: int) -> None:
    assert "not sent completely" in refusal(wire.FileDone(0, DIGEST), state=state)
    assert "not sent completely" in refusal(wire.FileDone(0, DIGEST))


def test_what_is_done_has_the_digest_of_what_was_sent() -> None:
    assert "digest of something else" in refusal(wire.FileDone(0, DIGEST), state=SENT)


def test_the_basis_does_not_change_between_wants() -> None:
    have = wire.pack_chunks([(wire.CHUNK, DIGEST)])
    assert "wanted before" in refusal(wire.Want(0, wire.PARTIAL, 0, have), wire.Want(0, wire.BASIS, 1, have))


@pytest.mark.parametrize(
    ("basis", "size", "lengths", "sentence"),
    [
        (wire.NOTHING, 10, [1], "digests of nothing"),
        (wire.PARTIAL, 10, [0], "a size that no chunk has"),
        (wire.BASIS, 10, [wire.CHUNK + 1], "a size that no chunk has"),
        (wire.PARTIAL, 3 * wire.CHUNK, [5, wire.CHUNK], "short chunk before the last"),
        (wire.PARTIAL, wire.CHUNK, [wire.CHUNK, 1], "more digests than the file can have"),
        (wire.PARTIAL, 0, [1], "more digests than the file can have"),
    ],
)
def test_what_a_receiver_cannot_have_is_refused(basis: int, size: int, lengths: list[int], sentence: str) -> None:
    with pytest.raises(wire.WireError, match=sentence):
        check_have(basis, size, 0, wire.pack_chunks([(length, DIGEST) for length in lengths]))


def test_digests_are_counted_over_several_wants() -> None:
    have = wire.pack_chunks([(wire.CHUNK, DIGEST)] * 2)
    check_have(wire.PARTIAL, 4 * wire.CHUNK, len(have), have)
    with pytest.raises(wire.WireError, match="more digests"):
        check_have(wire.PARTIAL, 3 * wire.CHUNK, len(have), have)
    check_have(wire.PARTIAL, -1, len(have), have)


def test_digests_come_in_several_wants() -> None:
    have = wire.pack_chunks([(wire.CHUNK, DIGEST)])
    result = Received().after(wire.Want(0, wire.PARTIAL, 0, have), wire.Want(0, wire.PARTIAL, 1, have))
    (job,) = result.jobs
    assert (bytes(job.have), job.basis, job.state) == (have * 2, wire.PARTIAL, QUEUED)


def test_more_digests_than_are_held_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    one = wire.pack_chunks([(wire.CHUNK, DIGEST)])
    monkeypatch.setattr(answers, "MAX_HAVE", 3 * len(one))
    result = Received().after(
        wire.Want(0, wire.PARTIAL, 1, one * 2), wire.Want(1, wire.BASIS, 0, one * 2), wire.Want(1, wire.BASIS, 1, one)
    )
    assert [job.have for job in result.jobs] == [one * 2, b""]


def test_digests_that_are_let_go_leave_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    one = wire.pack_chunks([(wire.CHUNK, DIGEST)])
    monkeypatch.setattr(answers, "MAX_HAVE", 2 * len(one))
    received = Received()
    received.other.sendall(wire.encode(wire.Want(0, wire.PARTIAL, 1, one * 2)))
    received.answers.wait_for_work(0)
    received.answers.let_go(received.answers.jobs.popleft())
    result = received.after(
        wire.Want(1, wire.PARTIAL, 0, one * 2), wire.Failed(1, 5, b""), wire.Want(2, wire.PARTIAL, 1, one * 2)
    )
    assert [job.have for job in result.jobs] == [one * 2]


def test_many_digests_one_at_a_time_take_linear_time() -> None:
    received = Received()
    received.answers.expect(pending(4, -1))
    one = wire.Want(4, wire.BASIS, 0, wire.pack_chunks([(wire.CHUNK, DIGEST)]))
    result = received.after(*[one] * 20_000, one._replace(last=1))
    assert len(result.jobs[0].have) == 20_001 * wire.CHUNK_SIZE


def test_a_summary_comes_last() -> None:
    assert "before the end" in refusal(wire.Summary(b"{}"))
    for text in (b"{}", b"[]", b"\xff", b'{"files": -1}'):
        received = Received()
        received.answers.finished = True
        with pytest.raises(wire.WireError):
            received.after(wire.Summary(text)).check()


@pytest.mark.parametrize("frame", [wire.Finish(), wire.Abort(0, 0, b""), wire.Data(0, 0, b"x"), wire.Restart(0)])
def test_a_receiver_sends_nothing_that_a_sender_does(frame: wire.Frame) -> None:
    assert f"a receiver has sent {type(frame).__name__}" in refusal(frame)


def test_a_stream_that_ends_early_is_an_error() -> None:
    result = Received().after()
    with pytest.raises(StreamEnded):
        result.check()
    with pytest.raises(StreamEnded):
        result.wait_for_work(0)
    with pytest.raises(StreamEnded):
        result.wait_for_summary()


def test_files_that_follow_each_other_are_skipped_together() -> None:
    received = Received()
    assert received.after(wire.Skip(0, 3)).totals.skipped == 3
    assert received.events == [events.Skipped(b"file %d" % number, 3 * wire.CHUNK) for number in range(3)]
    assert "entry 3" in refusal(wire.Skip(1, 3))


def test_what_happens_at_the_receiver_is_reported() -> None:
    received = Received()
    received.answers.files[2].state = ABORTED
    totals = received.after(
        wire.Skip(0),
        wire.Failed(1, 28, b"No space left on device"),
        wire.Failed(2, 5, b"aborted"),
        wire.Failed(3, 13, b"\xff"),
        wire.Problem(30, b"/there", b"Read-only file system"),
        wire.Deleted(b"old"),
    ).totals
    assert received.events == [
        events.Skipped(b"file 0", 3 * wire.CHUNK),
        events.Trouble(b"file 1", 28, "No space left on device", True),
        events.Trouble(b"directory", 13, "�", True),
        events.Trouble(b"/there", 30, "Read-only file system", True),
        events.Removed(b"old"),
    ]
    assert (totals.skipped, totals.failed) == (1, 2)
    assert not received.answers.files


def test_a_failure_whose_reason_was_told_before_is_neither_reported_again_nor_up_to_date() -> None:
    received = Received()
    totals = received.after(wire.Problem(2, b"/there", b"no directory"), wire.Failed(0, 0, b"")).totals
    assert received.events == [events.Trouble(b"/there", 2, "no directory", True)]
    assert totals.skipped == 0
    assert 0 not in received.answers.files


def test_only_some_entries_without_content_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MAX_OTHERS", 2)
    received = Received()
    for number in (4, 5):
        received.answers.expect_other(wire.Entry(number, wire.DIRECTORY, 0, 0, 0, 0, 0, b"%d" % number))
    received.after(wire.Failed(3, 1, b""), wire.Failed(5, 1, b""))
    assert [event.path for event in received.events if isinstance(event, events.Trouble)] == [b"", b"5"]


def test_with_dry_run_a_file_is_done_without_being_sent() -> None:
    received = Received(OPTIONS._replace(dry_run=True))
    totals = received.after(wire.FileDone(0, bytes(32))).totals
    assert (totals.files, totals.bytes, totals.sent) == (1, 3 * wire.CHUNK, 0)


def test_cancel_ends_every_wait() -> None:
    received = Received()
    ends = socket.socketpair()
    for wait in (
        lambda: received.answers.wait_for_work(0),
        received.answers.wait_for_summary,
        lambda: received.answers.wait_for_pipe(pending(0), ends[0].fileno()),
    ):
        timer = threading.Timer(0.02, received.answers.cancel)
        timer.start()
        with pytest.raises(Cancelled):
            wait()
        timer.join()
    received.after()
    for end in ends:
        end.close()
    received.answers.cancel()  # nothing is left to be woken up


def test_a_wait_for_a_pipe_ends_when_the_receiver_fails_or_the_pipe_can_be_read() -> None:
    received = Received()
    file = received.answers.files[0]
    mine, other = socket.socketpair()
    timer = threading.Timer(0.02, received.other.sendall, (wire.encode(wire.Failed(0, 28, b"")),))
    timer.start()
    received.answers.wait_for_pipe(file, mine.fileno())
    assert file.failed
    other.sendall(b"x")
    received.answers.wait_for_pipe(received.answers.files[1], mine.fileno())
    timer.join()
    mine.close()
    other.close()
    received.after()


def test_a_walk_and_answers_agree_about_numbers() -> None:
    steps = [step for batch in Walk([Pipe(0, b"a"), b"/dev"], OPTIONS, Area(None, b"/")).batches() for step in batch]
    assert isinstance(steps[0], Piped)
    assert isinstance(steps[1], wire.Entry)
    assert (steps[0].entry.number, steps[1].number) == (0, 1)
