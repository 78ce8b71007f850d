"""Where entries go, by rsync's rule, and whether they were requested at all."""

from __future__ import annotations

import errno
import os
import tracemalloc
from pathlib import Path

import pytest

from farhand_files.destination import Requested
from farhand_files.durability import Durability
from farhand_files.opening import Area, Directory
from farhand_files.options import TransferOptions
from tests.support.transferring import FakeSender, transfer


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source/directory").mkdir(parents=True)
    (tmp_path / "source/directory/file").write_text("content")
    return tmp_path / "source/directory"


RULES = [
    # what is sent, with which options, to what (d: a directory there), and where the file is then
    ("/file", {}, "new", "new"),
    ("/file", {}, "d", "d/file"),
    ("/file", {}, "d/", "d/file"),
    ("/file", {}, "d/new", "d/new"),
    ("/file", {}, "new/", "new/file"),
    ("/file", {"into": True}, "new", "new/file"),
    ("/file", {"parents": True}, "a/b/new", "a/b/new"),
    ("/file", {"into": True, "parents": True}, "a/b/new", "a/b/new/file"),
    ("/file", {}, "way", "d/file"),
    ("/file", {}, "old", "old"),
    ("/file", {}, "link", "old"),
    ("", {}, "d", "d/directory/file"),
    ("", {}, "new", "new/directory/file"),
    ("", {}, "d/new", "d/new/directory/file"),
    ("", {"parents": True}, "a/b/new", "a/b/new/directory/file"),
    ("/", {}, "d", "d/file"),
    ("/", {}, "new", "new/file"),
    ("/", {}, "way/", "d/file"),
]


@pytest.mark.parametrize(("sent", "options", "destination", "placed"), RULES)
def test_an_entry_is_placed_as_rsync_does(
    source: Path, tmp_path: Path, sent: str, options: dict[str, object], destination: str, placed: str
) -> None:
    top = tmp_path / "top"
    (top / "d").mkdir(parents=True)
    (top / "old").write_text("old")
    (top / "way").symlink_to("d")
    (top / "link").symlink_to("old")
    for _ in range(2):  # the same command twice does the same
        done = transfer(f"{source}{sent}", f"{top}/{destination}", **options)
        assert not done.troubles
        assert (top / placed).read_text() == "content"
    assert (top / "link").is_symlink()
    files = [path for path in top.rglob("*") if path.is_file() and not path.is_symlink()]
    assert sorted(files) == sorted({top / placed, top / "old"})


@pytest.mark.parametrize(
    ("sent", "destination", "sentence"),
    [
        ("/file", "none/new", "there is no directory"),
        ("/file", "none/new/", "there is no directory"),
        ("", "none/new", "there is no directory"),
        ("", "old", "the destination is not a directory"),
        ("/", "old", "the destination is not a directory"),
        ("/file", "old/", "the destination is not a directory"),
        ("/file", "old/new", "there is a file in the place of a directory"),
    ],
)
def test_a_destination_that_cannot_be_is_explained(
    source: Path, tmp_path: Path, sent: str, destination: str, sentence: str
) -> None:
    top = tmp_path / "top"
    top.mkdir()
    (top / "old").write_text("old")
    done = transfer(f"{source}{sent}", f"{top}/{destination}")
    assert sentence in done.troubles[0].sentence
    assert [path.name for path in top.iterdir()] == ["old"]


def test_a_destination_that_is_made_is_durable(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    real = Directory.sync

    def sync(directory: Directory) -> None:
        synced.append(directory.path)
        real(directory)

    monkeypatch.setattr(Directory, "sync", sync)
    assert not transfer(source, tmp_path / "a/b/c", parents=True).troubles
    assert {os.fsencode(tmp_path / each) for each in ("", "a", "a/b", "a/b/c")} <= set(synced)
    synced.clear()
    assert not transfer(source, tmp_path / "d/e/f", parents=True, sync=False).troubles
    assert not synced


@pytest.mark.parametrize(("number", "fails"), [(errno.EINVAL, False), (errno.EACCES, False), (errno.EIO, True)])
def test_only_a_disk_that_fails_makes_a_destination_that_is_made_unusable(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, fails: bool
) -> None:
    def sync(_: Directory) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Directory, "sync", sync)
    monkeypatch.setattr(Durability, "sync_directories", lambda *_: None)
    assert bool(transfer(source, tmp_path / "a", into=True).troubles) is fails


def test_only_one_file_can_have_the_destinations_name(tmp_path: Path) -> None:
    sender = FakeSender(tmp_path / "new")
    sender.file(b"one", b"1")
    sender.answer()
    for path in (b"two", b"one"):
        sender.entry(path)
        assert b"only one file" in getattr(sender.answer(), "sentence", b"")
    list(sender.finish())
    assert (tmp_path / "new").read_text() == "1"


def test_a_destination_outside_of_the_roots_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/out").symlink_to("..")
    area = Area([os.fsencode(tmp_path / "root")], os.fsencode(tmp_path / "root"))
    for destination in (tmp_path / "new", tmp_path / "root/out/new", tmp_path / "root/../new", tmp_path):
        sender = FakeSender(destination, area)
        sender.entry(b"file")
        assert b"not in a directory that may be used" in getattr(sender.answer(), "sentence", b"")
        sender.close()
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


@pytest.mark.parametrize(
    ("path", "name", "included"),
    [
        (b"a/b", b"b", True),
        (b"a/b", b"a", False),
        (b"a/*.c", b"x.c", True),
        (b"a/*.c", b"x.h", False),
        (b"a/[xy]", b"x", True),
        (b"a/*", b".bashrc", False),
        (b"?bashrc", b".bashrc", False),
        (b"[.]bashrc", b".bashrc", False),
        (b"a/.b*", b".bashrc", True),
        (b"\\.b*", b".bashrc", True),
        (b"a/", b"x", True),
        (b"..", b"x", True),
        (b"a/*/", b"x", True),
    ],
)
def test_what_was_requested_is_known_by_its_name(path: bytes, name: bytes, included: bool) -> None:
    requested = Requested(TransferOptions("get", (b"other", path)))
    assert requested.includes((name,)) is included
    assert requested.includes((name, b"below")) is included
    assert Requested(TransferOptions("put", (path,))).includes((b"anything",))


def test_any_number_of_names_that_match_takes_no_memory() -> None:
    requested = Requested(TransferOptions("get", (b"*",)))
    tracemalloc.start()
    try:
        assert all(requested.includes((b"%0200d" % number,)) for number in range(5000))
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()


def test_what_cannot_take_a_directory_is_not_replaced_by_a_file_in_it(source: Path, tmp_path: Path) -> None:
    for name in ("another", "link"):
        (source / name).write_text(name)
    (tmp_path / "old").write_text("old")
    for sent in (f"{source}/", source.parent):
        done = transfer(sent, tmp_path / "old", delete=True)
        assert [(each.path, each.sentence) for each in done.troubles if each.errno] == [
            (os.fsencode(tmp_path / "old"), "the destination is not a directory")
        ]
        assert (done.totals.files, done.totals.failed) == (0, 1)
        assert (tmp_path / "old").read_text() == "old"


def test_nothing_counts_as_up_to_date_where_the_destination_is_unusable(source: Path, tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    done = transfer(source, tmp_path / "old")
    assert done.totals.failed
    assert (done.totals.skipped, done.sender_totals.skipped) == (0, 0)


def test_a_link_that_leads_nowhere_is_named(source: Path, tmp_path: Path) -> None:
    (tmp_path / "way").symlink_to("none/at/all")
    [trouble] = transfer(f"{source}/file", tmp_path / "way").troubles
    assert (trouble.path, trouble.sentence) == (
        os.fsencode(tmp_path / "way"),
        "this is a symbolic link that leads into no directory there is",
    )


def test_what_fails_in_the_destinations_own_place_is_called_as_that(source: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    [trouble] = transfer(f"{source}/file", tmp_path / "fifo").troubles
    assert trouble.path == os.fsencode(tmp_path / "fifo")


def test_a_directory_that_fails_is_not_told_again_when_it_is_listed(source: Path, tmp_path: Path) -> None:
    (source / "link/inner").mkdir(parents=True)
    (tmp_path / "old").mkdir()
    os.mkfifo(tmp_path / "old/link")
    done = transfer(f"{source}/", tmp_path / "old", delete=True)
    assert [each.path for each in done.troubles if each.errno] == [
        os.fsencode(tmp_path / "old" / name) for name in ("link", "link/inner")
    ]
