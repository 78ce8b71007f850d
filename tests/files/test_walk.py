"""The entries of sources: which, in which order, and what is said of those that cannot be read."""

from __future__ import annotations

import errno
import os
import socket
from collections import Counter
from pathlib import Path

import pytest

from farhand_files import walk, wire
from farhand_files.opening import Area
from farhand_files.options import TransferOptions
from farhand_files.steps import Pipe, Piped, Readable, ReadableRows, WalkStep
from farhand_files.walk import Walk
from tests.support.processes import own_descriptors

OPTIONS = TransferOptions("put", (b"/somewhere",))


class Walked:
    """Everything that a walk has found."""

    def __init__(
        self,
        *sources: bytes | Pipe,
        options: TransferOptions = OPTIONS,
        base: bytes = b"/",
        roots: list[bytes] | None = None,
        patterns: bool = False,
    ) -> None:
        self.walk = Walk(sources, options, Area(roots, base), patterns=patterns)
        self.steps: list[WalkStep] = [step for batch in self.walk.batches() for step in batch]

    @property
    def entries(self) -> list[wire.Entry]:
        found: list[wire.Entry] = []
        for step in self.steps:
            if isinstance(step, ReadableRows):
                found += [step.readable(row).entry for row in range(len(step.rows))]
            elif isinstance(step, Readable | Piped):
                found.append(step.entry)
            elif isinstance(step, wire.Entry):
                found.append(step)
        return found

    @property
    def paths(self) -> list[bytes]:
        return [entry.path for entry in self.entries]

    @property
    def problems(self) -> list[tuple[int, bytes, str]]:
        return [
            (step.errno, step.path, step.sentence.decode()) for step in self.steps if isinstance(step, wire.Problem)
        ]

    @property
    def listed(self) -> dict[bytes, int]:
        return {self.entries[step.number].path: step.complete for step in self.steps if isinstance(step, wire.Listed)}

    def entry(self, path: bytes) -> wire.Entry:
        (found,) = [entry for entry in self.entries if entry.path == path]
        return found


@pytest.fixture
def top(tmp_path: Path) -> bytes:
    source = tmp_path / "src"
    for name in ("b", "d/e/f", "d/g", "a"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(name.encode())
    (source / "empty").mkdir()
    (source / "link").symlink_to("d/g")
    (source / "away").symlink_to("/etc")
    return os.fsencode(source)


def test_a_directory_comes_under_its_own_name_before_what_is_in_it(top: bytes) -> None:
    found = Walked(top)
    assert found.paths == [
        b"src", b"src/a", b"src/away", b"src/b", b"src/d", b"src/empty", b"src/link",
        b"src/d/e", b"src/d/g", b"src/d/e/f",
    ]  # fmt: skip
    assert [entry.number for entry in found.entries] == list(range(10))
    assert found.walk.complete
    assert (found.walk.entries, found.walk.size) == (10, len(b"b" + b"d/e/f" + b"d/g" + b"a"))


def test_a_trailing_slash_means_the_content(top: bytes) -> None:
    for source in (top + b"/", top + b"/.", top + b"/d/.."):
        found = Walked(source)
        assert found.paths[:2] == [b"", b"a"]
        assert b"d/e/f" in found.paths


def test_each_directory_is_listed_after_its_entries_and_before_those_below(top: bytes) -> None:
    order = [
        step.number if isinstance(step, wire.Listed) else (step.entry if isinstance(step, Readable) else step).path
        for step in Walked(top).steps
        if not isinstance(step, wire.Problem | Piped | ReadableRows)
    ]
    assert order == [
        b"src", b"src/a", b"src/away", b"src/b", b"src/d", b"src/empty", b"src/link", 0,
        b"src/d/e", b"src/d/g", 4, b"src/d/e/f", 7, 5,
    ]  # fmt: skip
    assert set(Walked(top).listed.values()) == {1}


def test_an_entry_says_what_the_file_is(top: bytes) -> None:
    os.chmod(top + b"/a", 0o4751)
    os.utime(top + b"/a", ns=(0, -5_000_000_001))
    entry = Walked(top).entry(b"src/a")
    assert entry[1:8] == (wire.REGULAR, 0o4751, os.geteuid(), os.getegid(), -5_000_000_001, 1, b"src/a")


def test_a_symbolic_link_in_a_tree_is_kept_as_one(top: bytes) -> None:
    found = Walked(top)
    assert (found.entry(b"src/link").kind, found.entry(b"src/link").target) == (wire.SYMLINK, b"d/g")
    assert found.entry(b"src/away").target == b"/etc"
    assert not any(path.startswith(b"src/away/") for path in found.paths)


def test_a_symbolic_link_as_a_source_is_followed(top: bytes) -> None:
    found = Walked(top + b"/link")
    (step,) = found.steps
    assert isinstance(step, Readable)
    assert (step.entry.kind, step.entry.path) == (wire.REGULAR, b"link")
    fd = step.place.open_file(step.name)
    assert os.read(fd, 10) == b"d/g"
    os.close(fd)
    os.symlink(b"d", top + b"/to-d")
    assert Walked(top + b"/to-d").paths == [b"to-d", b"to-d/e", b"to-d/g", b"to-d/e/f"]


@pytest.mark.parametrize("name", [b"\xff\n", b"-rf", b"*", b"a" * 255, "é".encode()])
def test_names_are_bytes_whatever_they_hold(top: bytes, name: bytes) -> None:
    with open(top + b"/" + name, "wb"):
        pass
    assert b"src/" + name in Walked(top).paths
    assert Walked(top + b"/" + name).paths == [name]


def test_further_names_of_a_file_refer_to_the_first(top: bytes) -> None:
    os.link(top + b"/a", top + b"/d/a2")
    os.link(top + b"/a", top + b"/z")
    found = Walked(top)
    first = found.entry(b"src/a")
    assert first.kind == wire.REGULAR
    for path in (b"src/d/a2", b"src/z"):
        assert (found.entry(path).kind, found.entry(path).target) == (wire.HARDLINK, b"%d" % first.number)


def test_only_so_many_further_names_are_known(top: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "MAX_HARDLINKS", 1)
    os.link(top + b"/a", top + b"/a2")
    os.link(top + b"/b", top + b"/d/b2")
    os.link(top + b"/d/g", top + b"/a0")
    os.link(top + b"/d/e/f", top + b"/d/h")
    kinds = {entry.path: entry.kind for entry in Walked(top).entries}
    assert kinds[b"src/a2"] == wire.HARDLINK  # forgotten after that, so that the next one is known
    assert Counter(kinds.values())[wire.HARDLINK] >= 2


@pytest.mark.parametrize("inside", [True, False])
def test_special_files_are_named_and_left_out(top: bytes, inside: bool) -> None:
    os.mkfifo(top + b"/fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        os.symlink(top, b"/tmp/farhand-walk-%d" % os.getpid())  # the path of a socket has to be short
        try:
            listener.bind(b"/tmp/farhand-walk-%d/sock" % os.getpid())
        finally:
            os.unlink(b"/tmp/farhand-walk-%d" % os.getpid())
    if inside:
        found = Walked(top)
        assert found.problems == [
            (0, top + b"/fifo", "this is a FIFO, which is not transferred"),
            (0, top + b"/sock", "this is a socket, which is not transferred"),
        ]
        assert found.walk.complete
        assert found.listed[b"src"] == 1
    else:
        found = Walked(top + b"/fifo", b"/dev/null")
        assert [(number, sentence) for number, _, sentence in found.problems] == [
            (errno.EOPNOTSUPP, "this is a FIFO, which is not transferred"),
            (errno.EOPNOTSUPP, "this is a character device, which is not transferred"),
        ]
        assert not found.walk.complete


def test_temporary_files_of_other_transfers_are_left_out(top: bytes) -> None:
    with open(top + b"/.farhand-0123456789abcdef-01234567.part", "wb"):
        pass
    with open(top + b"/.farhand-mine", "wb"):
        pass
    assert [path for path in Walked(top).paths if b".farhand" in path] == [b"src/.farhand-mine"]


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(top: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def refusing(fd: int) -> os.PathLike[str]:
        if os.readlink(f"/proc/self/fd/{fd}").endswith("/d"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(fd)  # type: ignore[return-value]  # it is the same as without this function

    monkeypatch.setattr(os, "scandir", refusing)
    found = Walked(top)
    assert found.problems == [(errno.EACCES, top + b"/d", "Permission denied")]
    assert found.listed == {b"src": 1, b"src/d": 0, b"src/empty": 1}
    assert not found.walk.complete
    assert b"src/link" in found.paths


@pytest.mark.parametrize(
    ("source", "number"),
    [(b"/missing", errno.ENOENT), (b"/a/", errno.ENOTDIR), (b"/a/b", errno.ENOTDIR), (b"/dangling", errno.ENOENT)],
)
def test_a_source_that_is_not_there_is_a_problem(top: bytes, source: bytes, number: int) -> None:
    os.symlink(b"nowhere", top + b"/dangling")
    found = Walked(top + source, top + b"/a")
    assert [(each[0], each[1]) for each in found.problems] == [(number, top + source)]
    assert found.paths == [b"a"]
    assert not found.walk.complete


def test_sources_outside_of_what_may_be_read_are_refused(top: bytes) -> None:
    found = Walked(top + b"/a", top + b"/d", top + b"/away/passwd", roots=[top + b"/d"])
    assert found.paths == [b"d", b"d/e", b"d/g", b"d/e/f"]
    assert [number for number, _, _ in found.problems] == [errno.EACCES, errno.EACCES]


def test_relative_sources_begin_at_the_base(top: bytes) -> None:
    assert Walked(b"d/g", b"../src/a", base=top).paths == [b"g", b"a"]


def test_two_sources_with_one_name_are_not_mixed_up(top: bytes) -> None:
    found = Walked(top + b"/a", top + b"/d/../a")
    assert found.paths == [b"a"]
    assert found.problems == [(errno.EEXIST, top + b"/d/../a", "another source has the same name")]


@pytest.mark.parametrize("sources", [(b"/", b"/d/"), (b"/d", b"/../src/d"), (b"/a", b"/d/"), (b"/d/", b"/a")])
def test_with_delete_two_sources_do_not_go_to_one_directory(top: bytes, sources: tuple[bytes, bytes]) -> None:
    one, two = (top + source for source in sources)
    found = Walked(one, two, options=OPTIONS._replace(delete=True))
    assert [each[:2] for each in found.problems] == [(errno.EINVAL, two)]
    assert not found.walk.complete
    assert Walked(top + b"/d", top + b"/empty", options=OPTIONS._replace(delete=True)).walk.complete
    assert Walked(top + b"/", top + b"/d/").walk.complete


def test_patterns_are_expanded_only_if_that_is_meant(top: bytes) -> None:
    assert Walked(top + b"/[ab]", patterns=True).paths == [b"a", b"b"]
    assert Walked(top + b"/[ab]").problems == [(errno.ENOENT, top + b"/[ab]", "No such file or directory")]
    assert Walked(top + b"/*.none", patterns=True).problems == [(errno.ENOENT, top + b"/*.none", "no file matches")]
    os.mkfifo(top + b"/fifo")
    assert Walked(top + b"/f*", patterns=True).problems[0][0] == errno.EOPNOTSUPP
    refused = Walked(b"/etc/*", roots=[top], patterns=True)
    assert [number for number, _, _ in refused.problems] == [errno.EACCES]


def test_excludes_are_left_out_with_what_is_below(top: bytes) -> None:
    found = Walked(top, options=OPTIONS._replace(excludes=("d/", "*nk", "/src/a")))
    assert found.paths == [b"src", b"src/away", b"src/b", b"src/empty"]
    assert found.walk.complete
    assert Walked(top, options=OPTIONS._replace(excludes=("src",))).paths == []


def test_files_that_are_too_large_or_too_old_are_left_out(top: bytes) -> None:
    os.utime(top + b"/a", ns=(0, 1_000))
    found = Walked(top, options=OPTIONS._replace(max_size=3, newer_than=1_001))
    assert [entry.path for entry in found.entries if entry.kind == wire.REGULAR] == [b"src/b", b"src/d/g"]
    assert b"src/link" in found.paths


def test_large_directories_are_read_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "BATCH", 4)
    top = tmp_path / "s"
    expected = {b"s"}
    for number in range(30):
        below = top / f"d{number}"
        below.mkdir(parents=True)
        (below / "x").write_bytes(b"")
        (top / f"f{number}").write_bytes(b"")
        expected |= {b"s/d%d" % number, b"s/d%d/x" % number, b"s/f%d" % number}
    found = Walked(os.fsencode(top))
    assert sorted(found.paths) == sorted(expected)
    assert Counter(found.listed.values()) == {1: 31}
    batches = [len(batch) for batch in Walk([os.fsencode(top)], OPTIONS, Area(None, b"/")).batches()]
    assert max(batches) <= 5
    entries = {entry.number: entry.path for entry in found.entries}
    seen: set[bytes] = {b""}
    for entry in found.entries:
        assert not entry.path.rpartition(b"/")[0] or entry.path.rpartition(b"/")[0] in seen
        seen.add(entry.path)
    assert entries[0] == b"s"


def test_few_directories_are_open_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "BATCH", 2)
    monkeypatch.setattr(walk, "MAX_SCANS", 3)
    path = tmp_path / "s"
    for _ in range(100):
        path.mkdir()
        for name in "uvw":
            (path / name).write_bytes(b"")
        path = path / "deep"
    before = len(own_descriptors())
    most = 0
    found = 0
    for batch in Walk([os.fsencode(tmp_path / "s")], OPTIONS, Area(None, b"/")).batches():
        most = max(most, len(own_descriptors()) - before)
        found += sum(isinstance(step, Readable) for step in batch)
    assert found == 300
    assert most <= 64 + 3 + 8
    assert len(own_descriptors()) <= before + 1


def test_a_walk_that_is_given_up_leaves_nothing_open(top: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "BATCH", 2)
    before = own_descriptors()
    steps = Walk([top], OPTIONS, Area(None, b"/")).batches()
    for _ in range(3):
        next(steps)
    assert len(own_descriptors()) > len(before)
    steps.close()
    del steps
    assert len(own_descriptors()) == len(before)


def test_paths_that_are_too_long_are_named(tmp_path: Path) -> None:
    at = os.open(tmp_path, os.O_RDONLY)
    name = b"n" * 250
    for _ in range(18):
        os.mkdir(name, dir_fd=at)
        below = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    found = Walked(os.fsencode(tmp_path) + b"/")
    assert len(found.paths) == 1 + 16
    assert max(map(len, found.paths)) <= wire.MAX_PATH
    assert [number for number, _, _ in found.problems] == [errno.ENAMETOOLONG]
    assert list(found.listed.values()) == [1] * 16 + [0]


def test_extended_attributes_are_kept_if_requested(top: bytes) -> None:
    for path in (b"", b"/a", b"/d"):
        os.setxattr(top + path, "user.note", b"of " + path)
    assert {entry.xattrs for entry in Walked(top).entries} == {b""}
    found = Walked(top, options=OPTIONS._replace(xattrs=True))
    kept = {entry.path: wire.unpack_xattrs(entry.xattrs) for entry in found.entries if entry.xattrs}
    assert kept == {
        b"src": [(b"user.note", b"of ")],
        b"src/a": [(b"user.note", b"of /a")],
        b"src/d": [(b"user.note", b"of /d")],
    }
    assert not found.problems


def test_too_many_extended_attributes_are_named(top: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "MAX_XATTRS", 100)
    os.setxattr(top + b"/a", "user.note", b"x" * 200)
    found = Walked(top, options=OPTIONS._replace(xattrs=True))
    assert [each[:2] for each in found.problems] == [(errno.E2BIG, top + b"/a")]
    assert found.entry(b"src/a").xattrs == b""


def test_files_of_proc_have_an_unknown_size() -> None:
    (entry,) = Walked(b"/proc/self/status").entries
    assert (entry.path, entry.size) == (b"status", -1)


def test_a_pipe_is_a_file_of_unknown_size() -> None:
    (entry,) = Walked(Pipe(0, b"dump.sql")).entries
    assert (entry.path, entry.size, entry.kind) == (b"dump.sql", -1, wire.REGULAR)


def test_a_file_is_opened_where_it_was_found(top: bytes) -> None:
    steps = {step.entry.path: step for step in Walked(top).steps if isinstance(step, Readable)}
    step = steps[b"src/d/e/f"]
    fd = step.place.open_file(step.name)
    assert os.read(fd, 100) == b"d/e/f"
    os.close(fd)


def test_a_file_that_became_a_symbolic_link_or_a_fifo_neither_leads_away_nor_hangs(top: bytes) -> None:
    steps = {step.entry.path: step for step in Walked(top).steps if isinstance(step, Readable)}
    os.replace(top + b"/away", top + b"/a")
    with pytest.raises(OSError, match="symbolic links"):
        steps[b"src/a"].place.open_file(b"a")
    os.unlink(top + b"/b")
    os.mkfifo(top + b"/b")
    os.close(steps[b"src/b"].place.open_file(b"b"))  # `Content` refuses it
