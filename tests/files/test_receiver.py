"""The receiver, with a sender at the other end."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from farhand_files import wire
from farhand_files.options import TransferOptions
from tests.support.finished_receiver import finished
from tests.support.transferring import FakeSender, transfer


def tree(top: Path) -> dict[str, object]:
    """Return what is below a directory: modes, times and contents."""
    found: dict[str, object] = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        what: object = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        times = 0 if path.is_symlink() else status.st_mtime_ns
        found[str(path.relative_to(top))] = (oct(status.st_mode), times, what)
    return found


@pytest.fixture
def source(tmp_path: Path) -> Path:
    top = tmp_path / "source"
    (top / "one/two").mkdir(parents=True)
    (top / "empty directory").mkdir(mode=0o700)
    (top / "empty").touch(mode=0o600)
    (top / "one/small").write_bytes(b"small")
    (top / "one/two/large").write_bytes(os.urandom(wire.CHUNK + 1))
    (top / "one/symlink").symlink_to("small")
    os.link(top / "one/small", top / "one/two/small too")
    (Path(os.fsdecode(os.fsencode(top) + b"/\xff\n"))).write_bytes(b"name")
    os.utime(top / "one", ns=(10**18, 10**18 + 123_456_789))
    (top / "one").chmod(0o555)
    return top


def test_a_tree_arrives_as_it_is(source: Path, tmp_path: Path) -> None:
    done = transfer(source, tmp_path / "destination")
    assert not done.troubles
    assert tree(tmp_path / "destination/source") == tree(source)
    assert (done.totals.files, done.totals.failed) == (4, 0)
    assert done.sender_totals.to_json() == done.totals.to_json()
    small = (tmp_path / "destination/source/one/small").stat()
    assert small.st_ino == (tmp_path / "destination/source/one/two/small too").stat().st_ino


def test_the_same_again_transfers_nothing(source: Path, tmp_path: Path) -> None:
    transfer(source, tmp_path / "destination")
    before = {path: path.lstat().st_ino for path in (tmp_path / "destination").rglob("*")}
    done = transfer(source, tmp_path / "destination")
    assert (done.totals.files, done.totals.skipped, done.totals.others, done.totals.sent) == (0, 4, 0, 0)
    assert {path: path.lstat().st_ino for path in (tmp_path / "destination").rglob("*")} == before


def test_a_file_is_received_frame_by_frame(tmp_path: Path) -> None:
    sender = FakeSender(tmp_path)
    number = sender.file(b"file", b"content")
    done = sender.answer()
    assert isinstance(done, wire.FileDone)
    assert done.number == number
    assert list(sender.finish()) == []
    assert (tmp_path / "file").read_bytes() == b"content"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "path",
    [
        b"..",
        b"../out",
        b"/out",
        b"in/../../out",
        b"in//out",
        b"./out",
        b".",
        b"in/.",
        b"\x00",
        b"out\x00",
        b"in/",
        b"x" * 256,
        b"/".join([b"x" * 250] * 17),
        b".farhand-0123456789abcdef-01234567.part",
    ],
)
@pytest.mark.parametrize("kind", [wire.REGULAR, wire.DIRECTORY, wire.SYMLINK])
def test_a_path_that_leads_elsewhere_fails_alone(tmp_path: Path, path: bytes, kind: int) -> None:
    (tmp_path / "in").mkdir()
    sender = FakeSender(tmp_path / "in")
    number = sender.entry(path, kind, target=b"target")
    failed = sender.answer()
    assert isinstance(failed, wire.Failed)
    assert failed.number == number
    sender.file(b"good", b"content")
    assert isinstance(sender.answer(), wire.FileDone)
    finished(sender)
    assert sender.totals is not None
    assert sender.totals.failed == 1
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["good", "in"]


def test_nothing_is_written_through_a_link_that_was_sent(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out/deep").mkdir(parents=True)
    sender = FakeSender(tmp_path / "in")
    sender.entry(b"way", wire.SYMLINK, target=os.fsencode(tmp_path / "out"))
    for path, kind in ((b"way/file", wire.REGULAR), (b"way/deep/file", wire.REGULAR), (b"way", wire.DIRECTORY)):
        sender.entry(path, kind)
        failed = sender.answer()
        assert isinstance(failed, wire.Failed)
    sender.entry(b"way/more", wire.DIRECTORY)
    assert isinstance(sender.answer(), wire.Failed)
    number = sender.file(b"way", b"a file replaces the link itself")
    assert getattr(sender.answer(), "number", None) == number
    finished(sender)
    assert not list((tmp_path / "out/deep").iterdir())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["deep"]
    assert not (tmp_path / "in/way").is_symlink()


def test_a_directory_that_is_swapped_for_a_link_is_not_left(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    sender = FakeSender(tmp_path / "in")
    sender.entry(b"directory", wire.DIRECTORY, mode=0o755)
    number = sender.entry(b"directory/file", size=5)
    sender.answer()
    sender.send(wire.Data(number, 0, b"1"))
    sender.entry(b"..")
    sender.answer()  # so all before it was taken
    (tmp_path / "in/directory").rename(tmp_path / "in/moved")
    (tmp_path / "in/directory").symlink_to(tmp_path / "out")
    sender.send(wire.Data(number, 1, b"2345"))
    sender.end(number, b"12345")
    sender.answer()
    finished(sender)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("kind", "sentence"), [("directory", b"directory"), ("fifo", b"FIFO"), ("device", b"in-place")]
)
def test_an_obstacle_is_named_and_stays(tmp_path: Path, kind: str, sentence: bytes) -> None:
    obstacle = tmp_path / "file"
    if kind == "directory":
        obstacle.mkdir()
    elif kind == "fifo":
        os.mkfifo(obstacle)
    else:
        if os.geteuid():
            sentence, obstacle = b"", tmp_path / "none"
            (tmp_path / "file").mkdir()
        else:
            os.mknod(obstacle, 0o20600, os.makedev(1, 3))
    sender = FakeSender(tmp_path)
    sender.entry(b"file", size=1)
    failed = sender.answer()
    assert isinstance(failed, wire.Failed)
    assert sentence in failed.sentence
    finished(sender)
    assert not (tmp_path / "file").is_file()


def test_a_program_that_runs_and_a_link_are_replaced(tmp_path: Path) -> None:
    program = tmp_path / "sleep"
    shutil.copy("/bin/sleep", program)
    (tmp_path / "elsewhere").write_text("stays")
    (tmp_path / "way").symlink_to("elsewhere")
    running = subprocess.Popen([program, "60"])
    try:
        sender = FakeSender(tmp_path)
        for path in (b"sleep", b"way"):
            sender.file(path, b"new")
            assert isinstance(sender.answer(), wire.FileDone)
        finished(sender)
    finally:
        running.kill()
        running.wait()
    assert program.read_text() == (tmp_path / "way").read_text() == "new"
    assert (tmp_path / "elsewhere").read_text() == "stays"


@pytest.mark.parametrize(
    ("requested", "path", "accepted"),
    [
        (b"/etc/hosts", b"hosts", True),
        (b"/etc/hosts", b".bashrc", False),
        (b"/etc/hosts", b"", False),
        (b"directory", b"directory/below", True),
        (b"directory", b"other/below", False),
        (b"/var/log/*.gz", b"a.gz", True),
        (b"/var/log/*.gz", b"a.sh", False),
        (b"/var/log/", b"anything", True),
        (b".", b"anything", True),
    ],
)
def test_a_service_places_only_what_was_requested(
    tmp_path: Path, requested: bytes, path: bytes, accepted: bool
) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "other").mkdir()
    sender = FakeSender(tmp_path, options=TransferOptions("get", (requested,)))
    sender.entry(path)
    assert isinstance(sender.answer(), wire.Want if accepted else wire.Failed)
    sender.close()


def test_hard_links_are_made_once_their_file_is_in_place(tmp_path: Path) -> None:
    sender = FakeSender(tmp_path)
    one, two = sender.entry(b"one", size=1), sender.entry(b"two", size=1)
    sender.entry(b"one too", wire.HARDLINK, target=b"%d" % one)
    sender.entry(b"two too", wire.HARDLINK, target=b"%d" % two)
    sender.answer()
    sender.answer()
    sender.send(wire.Data(one, 0, b"1"))
    sender.end(one, b"1")
    assert isinstance(sender.answer(), wire.FileDone)
    sender.send(wire.Abort(two, 5, b"cannot be read"))
    assert isinstance(sender.answer(), wire.Failed)
    sender.entry(b"one again", wire.HARDLINK, target=b"%d" % one)
    sender.entry(b"two again", wire.HARDLINK, target=b"%d" % two)
    assert [type(frame) for frame in finished(sender)] == [wire.Failed] * 2
    assert (tmp_path / "one").samefile(tmp_path / "one too")
    assert (tmp_path / "one").samefile(tmp_path / "one again")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "one again", "one too"]


def test_where_names_are_folded_the_second_spelling_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.lstat

    def folding(name: bytes, *, dir_fd: int) -> os.stat_result:
        if name.startswith(b".FARHAND"):
            name = next(each.encode() for each in os.listdir(tmp_path) if each.upper().encode() == name)
        return real(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "lstat", folding)
    sender = FakeSender(tmp_path)
    for path in ("Name", "é", "other"):
        sender.file(path.encode(), b"1")
        assert isinstance(sender.answer(), wire.FileDone)
    for path in ("nAME", "e\u0301"):
        sender.file(path.encode(), b"2")
        failed = sender.answer()
        assert isinstance(failed, wire.Failed)
        assert b"does not distinguish" in failed.sentence
    finished(sender)
    assert (tmp_path / "Name").read_text() == "1"


def test_a_dry_run_changes_nothing(source: Path, tmp_path: Path) -> None:
    for destination in (tmp_path / "existing", tmp_path / "none/at/all"):
        if destination.name == "existing":
            destination.mkdir()
        done = transfer(source, destination, dry_run=True, parents=True)
        assert not done.troubles
        assert done.totals.files == 4
        assert done.totals.sent == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["existing", "source"]
    assert not list((tmp_path / "existing").iterdir())


def test_a_dry_run_of_what_is_there_finds_nothing_to_do(source: Path, tmp_path: Path) -> None:
    transfer(source, tmp_path / "destination")
    totals = transfer(source, tmp_path / "destination", dry_run=True).totals
    assert (totals.files, totals.others, totals.skipped, totals.failed) == (0, 0, 4, 0)


def test_a_directory_at_the_end_has_its_mode_and_time(tmp_path: Path) -> None:
    sender = FakeSender(tmp_path)
    sender.entry(b"top", wire.DIRECTORY, mode=0o500, mtime=5 * 10**17)
    sender.entry(b"top/inner", wire.DIRECTORY, mode=0o111, mtime=6 * 10**17)
    sender.file(b"top/inner/file", b"x")
    sender.answer()
    assert (tmp_path / "top/inner").stat().st_mode & 0o700 == 0o700
    finished(sender)
    for path, mode, mtime in (("top", 0o500, 5), ("top/inner", 0o111, 6)):
        status = (tmp_path / path).stat()
        assert (status.st_mode & 0o7777, status.st_mtime_ns) == (mode, mtime * 10**17)
    (tmp_path / "top/inner").chmod(0o700)


def test_a_directory_keeps_the_setgid_bit_that_it_has_or_inherits(source: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "source").mkdir(parents=True)
    for path in (shared, shared / "source"):
        path.chmod(0o2775)
    done = transfer(source, shared)
    assert not done.troubles
    directories = [path for path in (shared / "source").rglob("*") if path.is_dir() and not path.is_symlink()]
    assert directories
    assert all(path.stat().st_mode & 0o7000 == 0o2000 for path in [shared / "source", *directories])
    assert not any(path.lstat().st_mode & 0o2000 for path in shared.rglob("*") if path.is_file())


def test_a_read_only_tree_is_updated(tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    (tmp_path / "top/file").write_text("old")
    (tmp_path / "top").chmod(0o555)
    sender = FakeSender(tmp_path)
    sender.entry(b"top", wire.DIRECTORY, mode=0o555)
    sender.file(b"top/file", b"new")
    assert isinstance(sender.answer(), wire.FileDone)
    finished(sender)
    assert (tmp_path / "top/file").read_text() == "new"
    assert (tmp_path / "top").stat().st_mode & 0o777 == 0o555


def test_nothing_is_masked_by_a_strict_umask(source: Path, tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        done = transfer(source, tmp_path / "destination", into=True)
    finally:
        os.umask(before)
        (tmp_path / "destination").chmod(0o700)
    assert not done.troubles
    assert tree(tmp_path / "destination/source") == tree(source)


def test_checksum_compares_content(source: Path, tmp_path: Path) -> None:
    transfer(source, tmp_path / "destination")
    changed = tmp_path / "destination/source/one/two/large"
    status, content = changed.stat(), changed.read_bytes()
    changed.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert transfer(source, tmp_path / "destination").totals.files == 0
    unchanged = (tmp_path / "destination/source/one/small").stat().st_ino
    done = transfer(source, tmp_path / "destination", checksum=True)
    assert done.totals.sent <= wire.CHUNK
    assert changed.read_bytes() == content
    assert (tmp_path / "destination/source/one/small").stat().st_ino == unchanged


def test_a_large_old_file_is_sent_in_part(tmp_path: Path) -> None:
    content = os.urandom(8 * wire.CHUNK)
    (tmp_path / "new").write_bytes(content[: 3 * wire.CHUNK] + b"inserted" + content[3 * wire.CHUNK :])
    (tmp_path / "old").write_bytes(content)
    done = transfer(tmp_path / "new", tmp_path / "old", delta=True, sha256=True)
    assert (tmp_path / "old").read_bytes() == (tmp_path / "new").read_bytes()
    assert done.totals.sent < wire.CHUNK
    assert done.totals.sent + done.totals.kept == done.totals.bytes


def test_extended_attributes_are_kept_where_there_are_any(tmp_path: Path) -> None:
    sender = FakeSender(tmp_path, options=TransferOptions("put", (b"x",), xattrs=True))
    xattrs = wire.pack_xattrs([(b"user.kept", b"\0value"), (b"security.capability", b"x"), (b"trusted.x", b"x")])
    number = sender.entry(b"file", xattrs=xattrs)
    sender.answer()
    sender.end(number, b"")
    assert isinstance(sender.answer(), wire.FileDone)
    finished(sender)
    assert os.listxattr(tmp_path / "file") in (["user.kept"], [])


@pytest.mark.parametrize("how", ["whole", "cut off"])
def test_at_the_end_nothing_is_open_any_more(source: Path, tmp_path: Path, how: str) -> None:
    """Also if nobody collects garbage: a script may transfer often, and then unmount what it has written to."""
    gc.disable()
    try:
        if how == "whole":
            transfer(source, tmp_path / "destination")
        else:
            (tmp_path / "destination/inner").mkdir(parents=True)
            sender = FakeSender(tmp_path / "destination")
            sender.entry(b"inner", wire.DIRECTORY, mode=0o755)
            number = sender.entry(b"inner/file", size=2)
            sender.answer()
            sender.send(wire.Data(number, 0, b"1"))
            sender.close()
        opened = [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    finally:
        gc.enable()
    assert not [path for path in opened if path.startswith(str(tmp_path / "destination"))]
