"""What a receiver holds is bounded, and a bad day costs what was under way."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path
from random import Random

import pytest

from farhand_files import placing, results, wire
from farhand_files.durability import Durability
from farhand_files.opening import Area
from farhand_files.options import TransferOptions
from farhand_files.receiver import Receiver
from farhand_files.sender import Sender
from farhand_files.stream import StreamEnded
from tests.support.finished_receiver import finished
from tests.support.transferring import FakeSender, PipeStream, put_options, transfer


@pytest.mark.parametrize("moment", range(0, 40, 4))
def test_a_receiver_that_is_killed_leaves_the_old_file_or_the_new_one(tmp_path: Path, moment: int) -> None:
    """`moment` is the number of system calls that change something after which the process is killed."""
    (tmp_path / "old").write_bytes(b"o" * 3 * wire.CHUNK)
    (tmp_path / "new").write_bytes(b"n" * 3 * wire.CHUNK)
    code = f"""
import os, signal, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
left = {moment}
def dying(call):
    def counted(*arguments, **keywords):
        global left
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return call(*arguments, **keywords)
    return counted
for name in ("pwrite", "rename", "fsync", "fchmod", "utime", "open", "close"):
    setattr(os, name, dying(getattr(os, name)))
from tests.support.transferring import transfer
transfer(Path({str(tmp_path / "new")!r}), Path({str(tmp_path / "old")!r}))
"""
    subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    content = (tmp_path / "old").read_bytes()
    assert content in (b"o" * 3 * wire.CHUNK, b"n" * 3 * wire.CHUNK)
    assert not transfer(tmp_path / "new", tmp_path / "old").troubles
    assert (tmp_path / "old").read_bytes() == b"n" * 3 * wire.CHUNK
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("at_once", [True, False])
def test_many_directories_are_made_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool) -> None:
    synced = []
    monkeypatch.setattr(Durability, "covers", lambda *_: at_once)
    monkeypatch.setattr(Durability, "sync_everything", lambda _: synced.append(b"everything"))
    monkeypatch.setattr(
        Durability, "sync_directories", lambda _, several, __: synced.extend(each.path for each in several)
    )
    sender = FakeSender(tmp_path)
    names = [b"%02d" % number for number in range(2 * placing.FEW_DIRECTORIES)]
    for name in names:
        sender.entry(name, wire.DIRECTORY)
    finished(sender)
    assert b"everything" in synced
    assert {os.fsencode(tmp_path) + b"/" + name for name in names} <= set(synced) or at_once


def test_only_so_much_is_held_for_files_that_are_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "MAX_HELD", 1000)
    sender = FakeSender(tmp_path)
    for _ in range(2):
        first, second = sender.entry(b"first", xattrs=b"x" * 600), sender.entry(b"second", xattrs=b"x" * 600)
        assert isinstance(sender.answer(), wire.Want)
        failed = sender.answer()
        assert isinstance(failed, wire.Failed)
        assert (failed.number, failed.errno) == (second, errno.ENOMEM)
        sender.send(wire.Abort(first, 5, b""))
        sender.answer()
    finished(sender)


def test_further_names_hold_nothing_but_their_path(tmp_path: Path) -> None:
    sender = FakeSender(tmp_path)
    number = sender.entry(b"file", size=1)
    sender.answer()
    tracemalloc.start()
    try:
        for each in range(40):
            sender.entry(b"name %d" % each, wire.HARDLINK, target=b"%d" % number, xattrs=bytes(wire.CHUNK))
        sender.entry(b"other", size=1)
        assert isinstance(sender.answer(), wire.Want)
        assert tracemalloc.get_traced_memory()[0] < 10 * wire.CHUNK
    finally:
        tracemalloc.stop()
    sender.close()


def test_what_the_system_does_not_take_fails_alone(tmp_path: Path) -> None:
    sender = FakeSender(tmp_path)
    sender.entry(b"link", wire.SYMLINK, target=b"a\0b")
    failed = sender.answer()
    assert isinstance(failed, wire.Failed)
    assert failed.errno == errno.EINVAL
    number = sender.entry(b"file", size=1)
    assert isinstance(sender.answer(), wire.Want)
    sender.send(wire.Abort(number, (1 << 32) - 1, b"an error that does not exist"))
    assert sender.answer() == wire.Failed(number, (1 << 32) - 1, b"an error that does not exist")
    finished(sender)


def test_only_so_many_names_wait_for_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sender = FakeSender(tmp_path)
    number = sender.entry(b"file", size=1)
    sender.answer()
    monkeypatch.setattr(wire, "MAX_UNANSWERED", 2)
    for name in (b"one", b"two", b"three"):
        sender.entry(name, wire.HARDLINK, target=b"%d" % number)
    failed = sender.answer()
    assert isinstance(failed, wire.Failed)
    assert failed.errno == errno.EMLINK
    sender.send(wire.Data(number, 0, b"1"))
    sender.end(number, b"1")
    assert isinstance(sender.answer(), wire.FileDone)
    finished(sender)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "one", "two"]


class CutStream(PipeStream):
    """A stream that ends after `left` bytes were read from it, `count` in all."""

    left = count = 0

    def readinto(self, buffer: memoryview) -> int:
        count = super().readinto(buffer[: self.left])
        self.left -= count
        self.count += count
        return count


def test_twenty_cuts_cost_at_most_one_chunk_each(tmp_path: Path) -> None:
    content = os.urandom(24 * wire.CHUNK + 5)
    (tmp_path / "source").write_bytes(content)
    options = put_options(tmp_path / "target")
    random, arrived, cuts = Random(5), 0, 20
    for attempt in range(cuts + 1):
        one, other = os.pipe(), os.pipe()
        ours, theirs = CutStream(one[0], other[1]), PipeStream(other[0], one[1])
        ours.left = random.randrange(3 * wire.CHUNK) if attempt < cuts else 1 << 40
        sender = Sender([os.fsencode(tmp_path / "source")], options, Area(None, b"/"), theirs, lambda _: None)
        receiver = Receiver(os.fsencode(tmp_path / "target"), options, Area(None, b"/"), ours, lambda _: None)
        thread = threading.Thread(target=run_quietly, args=(sender,))
        thread.start()
        with contextlib.suppress(StreamEnded):
            receiver.run()
        arrived += ours.count
        ours.close()
        thread.join()
        theirs.close()
    assert arrived <= len(content) + cuts * (wire.CHUNK + 1024) + 4096
    assert (tmp_path / "target").read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]


def run_quietly(sender: Sender) -> None:
    """Run a sender whose stream may be cut."""
    with contextlib.suppress(StreamEnded, OSError):
        sender.run()


def test_what_was_in_a_directory_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    (tmp_path / "top/file").touch()
    sender = FakeSender(tmp_path / "top", options=TransferOptions("put", (b"x",)))
    sender.entry(b"way", wire.SYMLINK, target=b"file")
    for path in (b"none/file", b"none/deeper/file"):
        sender.entry(path)
        assert b"could not be made" in getattr(sender.answer(), "sentence", b"")
    finished(sender)
