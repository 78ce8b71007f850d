"""The sender, with a receiver that answers as each test says."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest
from blake3 import blake3

from farhand_files import events, sender, wire
from farhand_files.options import TransferOptions
from farhand_files.sender import Pipe
from farhand_files.stream import Cancelled, StreamEnded
from tests.support.fake_receiver import Sending, skip, want

CHUNK = wire.CHUNK
LONG_AGO = 1_000_000_000_000_000_000
OPTIONS = TransferOptions("put", (b"/somewhere",))


def write(path: Path, content: bytes) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    return os.fsencode(path)


@pytest.fixture
def tree(tmp_path: Path) -> dict[bytes, bytes]:
    content = {
        b"t/empty": b"",
        b"t/one": b"1",
        b"t/small": os.urandom(5000),
        b"t/d/middle": os.urandom(CHUNK - 1),
        b"t/d/chunk": os.urandom(CHUNK),
        b"t/d/large": os.urandom(5 * CHUNK + 1),
    }
    for path, data in content.items():
        write(tmp_path / os.fsdecode(path), data)
    return content


def test_a_tree_is_sent_with_all_that_is_in_it(tmp_path: Path, tree: dict[bytes, bytes]) -> None:
    sending = Sending(os.fsencode(tmp_path / "t"))
    receiver = sending.finish()
    assert {path: bytes(content) for path, content in receiver.content.items()} == tree
    assert receiver.frames[-1] == wire.Finish()
    assert receiver.of(wire.Walked) == [wire.Walked(8, sum(map(len, tree.values())), 1)]
    totals = sending.totals
    assert totals is not None
    assert (totals.files, totals.bytes, totals.sent, totals.failed) == (6, *[sum(map(len, tree.values()))] * 2, 0)
    finished = {event.path: event for event in sending.events if isinstance(event, events.Finished)}
    assert {path: event.blake3 for path, event in finished.items()} == {
        path: blake3(content).digest() for path, content in tree.items()
    }
    assert {event.path for event in sending.events if isinstance(event, events.Begun)} == tree.keys()
    assert sending.of(events.FoundAll) == [events.FoundAll(8, sum(map(len, tree.values())))]


def test_what_is_up_to_date_is_not_read(tmp_path: Path, tree: dict[bytes, bytes]) -> None:
    sending = Sending(os.fsencode(tmp_path / "t"), answer=skip)
    receiver = sending.finish()
    assert not receiver.of(wire.Data)
    assert sending.totals is not None
    assert (sending.totals.skipped, sending.totals.files) == (6, 0)
    assert {event.path for event in sending.events if isinstance(event, events.Skipped)} == tree.keys()


def test_the_digest_of_one_file_is_in_the_totals(tmp_path: Path) -> None:
    sending = Sending(write(tmp_path / "f", b"content"), options=OPTIONS._replace(sha256=True))
    receiver = sending.finish()
    assert sending.totals is not None
    assert sending.totals.digest == blake3(b"content").hexdigest()
    assert receiver.done[b"f"].sha256 == hashlib.sha256(b"content").digest()


def test_the_verified_beginning_of_a_file_is_not_sent_again(tmp_path: Path) -> None:
    data = os.urandom(4 * CHUNK + 5)
    had = data[: 2 * CHUNK] + b"?" * CHUNK
    have = [(CHUNK, blake3(had[at : at + CHUNK]).digest()) for at in range(0, len(had), CHUNK)]

    def answer(entry: wire.Entry) -> Sequence[wire.Frame]:
        return [wire.Want(entry.number, wire.PARTIAL, 1, wire.pack_chunks(have))]

    sending = Sending(write(tmp_path / "f", data), answer=answer, have={b"f": had})
    receiver = sending.finish()
    assert receiver.content[b"f"] == data
    (finished,) = sending.of(events.Finished)
    assert finished[1:4] == (len(data), len(data) - 2 * CHUNK, 2 * CHUNK)


def test_a_slow_receiver_never_has_too_many_files_without_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_UNANSWERED", 10)
    monkeypatch.setattr(wire, "MAX_ROWS", 9)
    for number in range(100):
        write(tmp_path / "t" / f"{number}", b"%d" % number)
    sending = Sending(os.fsencode(tmp_path / "t"))
    receiver = sending.finish()
    assert len(receiver.done) == 100
    assert receiver.most_unfinished <= 10


def test_a_directory_of_many_files_is_sent_ahead_of_the_answers(tmp_path: Path) -> None:
    for number in range(300):
        write(tmp_path / "t" / f"{number}", b"")
    held: list[wire.Frame] = []
    everything = threading.Event()

    def answer(entry: wire.Entry) -> Sequence[wire.Frame]:
        held.extend(want(entry))
        if len(held) == 300:
            everything.set()
            return held
        return []

    sending = Sending(os.fsencode(tmp_path / "t"), answer=answer)
    assert everything.wait(10), "entries were held back until earlier ones were answered"
    assert len(sending.finish().done) == 300


def test_a_file_that_vanishes_fails_and_the_rest_goes_on(tmp_path: Path) -> None:
    gone = tmp_path / "t" / "gone"
    write(gone, b"x")
    write(tmp_path / "t" / "here", b"y")

    def answer(entry: wire.Entry) -> Sequence[wire.Frame]:
        gone.unlink(missing_ok=True)
        return want(entry)

    sending = Sending(os.fsencode(tmp_path / "t"), answer=answer)
    receiver = sending.finish()
    assert receiver.aborted[b"t/gone"][1:] == (errno.ENOENT, b"No such file or directory")
    assert receiver.content[b"t/here"] == b"y"
    assert sending.of(events.Trouble) == [
        events.Trouble(os.fsencode(gone), errno.ENOENT, "No such file or directory", False)
    ]
    assert sending.totals is not None
    assert (sending.totals.failed, sending.totals.files) == (1, 1)


def test_a_fifo_in_the_place_of_a_file_does_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "t" / "f"
    write(path, b"x")

    def answer(entry: wire.Entry) -> Sequence[wire.Frame]:
        path.unlink()
        os.mkfifo(path)
        return want(entry)

    receiver = Sending(os.fsencode(tmp_path / "t"), answer=answer).finish()
    assert receiver.aborted[b"t/f"].errno == errno.ESTALE


def changing_while_read(monkeypatch: pytest.MonkeyPatch, path: Path, times: int, content: bytes) -> None:
    """Let a file change after each of the first reads of its second chunk."""
    real = os.readv
    left = [times]

    def readv(fd: int, buffers: Sequence[memoryview]) -> int:
        got = real(fd, buffers)
        if left[0] and os.lseek(fd, 0, os.SEEK_CUR) == 2 * CHUNK:
            left[0] -= 1
            path.write_bytes(content)
            os.utime(path, ns=(LONG_AGO + left[0], LONG_AGO + left[0]))
        return got

    monkeypatch.setattr(os, "readv", readv)


def test_a_file_that_changes_while_it_is_read_is_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = os.urandom(3 * CHUNK + 9)
    source = write(tmp_path / "f", os.urandom(3 * CHUNK))
    changing_while_read(monkeypatch, tmp_path / "f", 1, new)
    sending = Sending(source)
    receiver = sending.finish()
    assert len(receiver.of(wire.Restart)) == 1
    assert receiver.content[b"f"] == new
    assert (receiver.done[b"f"].size, receiver.done[b"f"].mtime) == (len(new), LONG_AGO)


def test_a_file_that_changes_all_the_time_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "f", os.urandom(3 * CHUNK))
    changing_while_read(monkeypatch, tmp_path / "f", 100, os.urandom(3 * CHUNK))
    sending = Sending(source)
    receiver = sending.finish()
    sentence = "this has changed while it was being read, 3 times"
    assert receiver.aborted[b"f"][1:] == (errno.EBUSY, sentence.encode())
    assert sending.of(events.Trouble) == [events.Trouble(source, errno.EBUSY, sentence, False)]
    assert not receiver.done


def test_a_log_that_grows_is_sent_as_it_was_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(3 * CHUNK)
    source = write(tmp_path / "log", data)
    changing_while_read(monkeypatch, tmp_path / "log", 1, data + b"more\n")
    sending = Sending(source)
    receiver = sending.finish()
    assert receiver.content[b"log"] == data
    assert receiver.done[b"log"].mtime == LONG_AGO
    sentence = "this has grown while it was being read; what is new was not sent"
    assert sending.of(events.Trouble) == [events.Trouble(source, 0, sentence, False)]
    assert receiver.of(wire.Problem) == [wire.Problem(0, source, sentence.encode())]
    assert sending.totals is not None
    assert sending.totals.failed == 0


@pytest.mark.parametrize("large", [False, True])
def test_a_receiver_that_fails_gets_no_more_of_the_file(tmp_path: Path, large: bool) -> None:
    source = write(tmp_path / "t" / "f", os.urandom(40 * CHUNK if large else 10))
    write(tmp_path / "t" / "g", b"g")

    def answer(entry: wire.Entry) -> Sequence[wire.Frame]:
        if entry.path == b"t/f":
            return [*want(entry), wire.Failed(entry.number, errno.ENOSPC, b"No space left on device")]
        return want(entry)

    sending = Sending(os.fsencode(tmp_path / "t"), answer=answer)
    receiver = sending.finish()
    assert b"t/f" not in receiver.done
    assert len(receiver.of(wire.Data)) < 40
    assert receiver.content[b"t/g"] == b"g"
    assert sending.of(events.Trouble) == [events.Trouble(b"t/f", errno.ENOSPC, "No space left on device", True, source)]
    assert source


def test_a_receiver_that_fails_in_the_middle_is_told_that_nothing_follows(tmp_path: Path) -> None:
    write(tmp_path / "f", os.urandom(64 * CHUNK))
    sending = Sending(os.fsencode(tmp_path / "f"))
    receiver = sending.receiver
    original = receiver._store  # noqa: SLF001 - this is a part of the fake

    def store(number: int, offset: int, data: bytes) -> None:
        original(number, offset, data)
        if offset == CHUNK:
            receiver.send(wire.Failed(0, errno.EIO, b"Input/output error"))

    receiver._store = store  # type: ignore[method-assign]  # noqa: SLF001 - this is a part of the fake
    sending.finish()
    (aborted,) = receiver.of(wire.Abort)
    assert not receiver.done
    assert aborted == wire.Abort(0, 0, b"")


def test_a_pipe_is_sent_as_it_comes_and_ends_with_it(tmp_path: Path) -> None:
    out, into = os.pipe()
    sending = Sending(Pipe(out, b"dump"))
    for number in range(3):
        os.write(into, b"part %d\n" % number)
        deadline = time.monotonic() + 10
        while len(sending.receiver.content.get(b"dump", b"")) < 7 * (number + 1):
            assert time.monotonic() < deadline, "what has come out of a pipe is held back"
            time.sleep(0.001)
    os.close(into)
    receiver = sending.finish()
    os.close(out)
    assert receiver.entry(b"dump").size == -1
    assert receiver.content[b"dump"] == b"part 0\npart 1\npart 2\n"
    assert receiver.done[b"dump"].size == 21
    assert receiver.done[b"dump"].mode == receiver.entry(b"dump").mode == 0o644


def test_cancel_ends_a_wait_for_a_pipe() -> None:
    out, into = os.pipe()
    sending = Sending(Pipe(out, b"dump"))
    threading.Timer(0.05, sending.sender.cancel).start()
    with pytest.raises(Cancelled):
        sending.finish()
    os.close(into)
    os.close(out)


def test_cancel_ends_a_wait_for_answers(tmp_path: Path) -> None:
    sending = Sending(write(tmp_path / "f", b"x"), answer=lambda _: [])
    threading.Timer(0.05, sending.sender.cancel).start()
    with pytest.raises(Cancelled):
        sending.finish()


def test_cancel_ends_a_slow_transfer_soon(tmp_path: Path) -> None:
    began = time.monotonic()
    sending = Sending(write(tmp_path / "f", os.urandom(CHUNK)), options=OPTIONS._replace(rate=1))
    threading.Timer(0.1, sending.sender.cancel).start()
    with pytest.raises(Cancelled):
        sending.finish()
    assert time.monotonic() - began < 30, "a wait of an hour was not ended"


def test_a_connection_that_ends_is_not_a_success(tmp_path: Path) -> None:
    sending = Sending(write(tmp_path / "f", b"x"), answer=lambda _: [])
    sending.receiver.stream.shutdown()
    with pytest.raises((StreamEnded, OSError)):
        sending.finish()


def test_a_receiver_that_misbehaves_ends_the_transfer(tmp_path: Path) -> None:
    sending = Sending(write(tmp_path / "f", b"x"), answer=lambda _: [wire.Skip(7)])
    with pytest.raises(wire.WireError, match="entry 7"):
        sending.finish()


def test_a_limited_rate_is_kept(tmp_path: Path) -> None:
    began = time.monotonic()
    sending = Sending(write(tmp_path / "f", os.urandom(40_000)), options=OPTIONS._replace(rate=100_000))
    receiver = sending.finish()
    assert time.monotonic() - began >= 0.25
    assert receiver.done[b"f"].size == 40_000
    assert len(receiver.of(wire.Data)) >= 4


def test_progress_is_reported_some_times_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "MOVED_INTERVAL", 0.0)
    sending = Sending(write(tmp_path / "f", os.urandom(6 * CHUNK)))
    sending.finish()
    assert [event[1:] for event in sending.of(events.Moved)] == [(n * CHUNK, n * CHUNK) for n in range(1, 7)]
    monkeypatch.setattr(sender, "MOVED_INTERVAL", 3600.0)
    sending = Sending(os.fsencode(tmp_path / "f"))
    sending.finish()
    assert not sending.of(events.Moved)


def test_patterns_are_expanded_if_that_is_meant(tmp_path: Path) -> None:
    write(tmp_path / "a.gz", b"")
    assert Sending(b"*.gz", base=os.fsencode(tmp_path), expand=True).finish().paths() == [b"a.gz"]
    sending = Sending(b"*.gz", base=os.fsencode(tmp_path))
    assert sending.finish().paths() == []
    assert sending.totals is not None
    assert sending.totals.failed == 1


def test_memory_does_not_grow_with_sizes(tmp_path: Path) -> None:
    path = tmp_path / "t" / "sparse"
    path.parent.mkdir()
    with path.open("wb") as file:
        file.truncate(1 << 30)
        for at in range(0, 200, 2):
            file.seek(at * CHUNK)
            file.write(b"x" * 4096)
    for number in range(1000):
        write(tmp_path / "t" / f"{number}", b"x" * 4096)
    tracemalloc.start()
    try:
        sending = Sending(os.fsencode(path.parent), keep=False)
        sending.finish()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sending.totals is not None
    assert sending.totals.files == 1001
    assert peak < 32 << 20
