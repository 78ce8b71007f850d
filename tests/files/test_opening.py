"""Paths are opened below a directory, and nothing outside of it, with openat2 and without."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from farhand_files import opening
from farhand_files.opening import MAX_OPEN, Area, Directory, OpenDirectories, Outside
from tests.support.processes import own_descriptors


@pytest.fixture(params=["openat2", "steps"], autouse=True)
def _both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "steps":
        monkeypatch.setattr(opening, "_syscall_answers", False)


@pytest.fixture
def top(tmp_path: Path) -> Iterator[Directory]:
    """`one/two/three`, and `secret` beside it."""
    (tmp_path / "top/one/two/three").mkdir(parents=True)
    (tmp_path / "secret/two").mkdir(parents=True)
    with Area(None, os.fsencode(tmp_path)).open_directory(b"top") as directory:
        yield directory


def is_at(directory: Directory, path: Path) -> bool:
    return os.path.samestat(os.fstat(directory.fd), path.stat())


def failed(function: Callable[..., object], *arguments: object) -> int | None:
    """Return the errno with which a call fails."""
    try:
        function(*arguments)
    except OSError as error:
        return error.errno
    return None


def test_a_directory_is_opened_below_another(top: Directory, tmp_path: Path) -> None:
    assert is_at(top.child(b"one"), tmp_path / "top/one")
    assert is_at(top.below((b"one", b"two", b"three")), tmp_path / "top/one/two/three")
    assert is_at(top.below(()), tmp_path / "top")
    assert top.below((b"one", b"two")).path == os.fsencode(tmp_path / "top/one/two")


@pytest.mark.parametrize("name", [b"", b".", b"..", b"one/two", b"/", b"\0", b"one\0"])
def test_what_is_no_name_is_refused(top: Directory, name: bytes) -> None:
    assert failed(top.child, name) == errno.EINVAL
    assert failed(top.below, (b"one", name)) == errno.EINVAL


@pytest.mark.parametrize("components", [(b"way",), (b"way", b"two"), (b"one", b"way"), (b"one", b"way", b"two")])
@pytest.mark.parametrize("target", ["secret", "top/one"])
def test_no_symbolic_link_is_followed_below(
    top: Directory, tmp_path: Path, components: tuple[bytes, ...], target: str
) -> None:
    for place in ("top/way", "top/one/way"):
        (tmp_path / place).symlink_to(tmp_path / target)
    assert failed(top.below, components) == errno.ELOOP


def test_what_is_missing_and_what_is_no_directory_is_named(top: Directory, tmp_path: Path) -> None:
    (tmp_path / "top/one/file").touch()
    with pytest.raises(FileNotFoundError) as missing:
        top.below((b"one", b"none", b"two"))
    assert missing.value.filename == os.fsencode(tmp_path / "top/one/none/two")
    for components in ((b"one", b"file"), (b"one", b"file", b"two")):
        assert failed(top.below, components) == errno.ENOTDIR


def test_a_directory_that_was_moved_is_still_the_one_that_was_opened(top: Directory, tmp_path: Path) -> None:
    one = top.child(b"one")
    (tmp_path / "top/one").rename(tmp_path / "top/moved")
    (tmp_path / "top/one").symlink_to(tmp_path / "secret")
    assert is_at(one.child(b"two"), tmp_path / "top/moved/two")


def test_a_directory_can_be_read(top: Directory) -> None:
    fd = top.readable()
    assert os.listdir(fd) == ["one"]
    os.close(fd)


def test_a_directory_is_closed_once(top: Directory) -> None:
    one = top.child(b"one")
    with one:
        fd = one.fd
    one.close()
    assert failed(os.fstat, fd) == errno.EBADF


def area(tmp_path: Path, *roots: str) -> Area:
    return Area([os.fsencode(tmp_path / root) for root in roots], os.fsencode(tmp_path / "top"))


def test_a_path_in_a_root_is_opened(top: Directory, tmp_path: Path) -> None:
    where = area(tmp_path, "secret", "top/one")
    assert is_at(where.open_directory(b"one/two/three"), tmp_path / "top/one/two/three")
    assert is_at(where.open_directory(b"one/"), tmp_path / "top/one")
    assert is_at(where.open_directory(b"../secret"), tmp_path / "secret")
    assert is_at(where.open_directory(os.fsencode(tmp_path / "secret/two")), tmp_path / "secret/two")
    directory, name = where.parent(b"one/two/new")
    assert is_at(directory, tmp_path / "top/one/two")
    assert name == b"new"


@pytest.mark.parametrize(
    "path", [b"/etc", b"/", b".", b"..", b"one/../..", b"one/../../secret", b"oneself", b"one/two/../../none"]
)
def test_a_path_outside_of_the_roots_is_refused(top: Directory, tmp_path: Path, path: bytes) -> None:
    (tmp_path / "top/oneself").mkdir()
    with pytest.raises(Outside) as refused:
        area(tmp_path, "top/one").open_directory(path)
    assert refused.value.filename == path
    with pytest.raises(Outside):
        area(tmp_path, "top/one").parent(path + b"/x")


def test_nothing_is_in_an_empty_list_of_roots(top: Directory) -> None:
    with pytest.raises(Outside):
        Area([], b"/").open_directory(b"/")


def test_links_in_what_the_user_has_typed_are_followed_within_the_roots(top: Directory, tmp_path: Path) -> None:
    (tmp_path / "top/one/absolute").symlink_to(tmp_path / "top/one/two")
    (tmp_path / "top/one/relative").symlink_to("two")
    (tmp_path / "top/in").symlink_to("one")
    (tmp_path / "top/one/out").symlink_to("../../secret")
    where = area(tmp_path, "top/one")
    for path in (b"one/absolute", b"one/relative", b"in/two", b"one/two/../relative"):
        assert is_at(where.open_directory(path), tmp_path / "top/one/two")
        assert is_at(where.parent(path + b"/x")[0], tmp_path / "top/one/two")
    for path in (b"one/out", b"one/out/two"):
        with pytest.raises(Outside):
            where.open_directory(path)
        with pytest.raises(Outside):
            where.parent(path + b"/x")


def test_a_root_may_be_a_link_itself(top: Directory, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to("top/one")
    where = area(tmp_path, "data")
    assert is_at(where.open_directory(b"../data/two"), tmp_path / "top/one/two")
    assert is_at(where.open_directory(b"one/two"), tmp_path / "top/one/two")


@pytest.mark.parametrize("writable", ["top", "./top/", "../{name}/top", "top/one"])
def test_a_root_where_the_user_may_put_links_is_none_itself(top: Directory, tmp_path: Path, writable: str) -> None:
    (tmp_path / "top/one/out").symlink_to("../../secret")
    roots = [os.fsencode(tmp_path / root) for root in ("top/one/out", "top/one/two")]
    may_write = os.fsencode(f"{tmp_path}/{writable.format(name=tmp_path.name)}")
    where = Area(roots, b"/", [may_write])
    assert is_at(where.open_directory(roots[1]), tmp_path / "top/one/two")
    assert is_at(where.open_directory(roots[1] + b"/three"), tmp_path / "top/one/two/three")
    assert is_at(where.parent(roots[1] + b"/three/x")[0], tmp_path / "top/one/two/three")
    with pytest.raises(Outside):
        where.parent(roots[1])
    for path in (roots[0], roots[0] + b"/two"):
        with pytest.raises(Outside):
            where.open_directory(path)
        with pytest.raises(Outside):
            where.parent(path + b"/x")
    assert is_at(Area(roots, b"/", [roots[0]]).open_directory(roots[0]), tmp_path / "secret")


def test_a_link_put_in_place_after_the_check_is_not_followed(
    top: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = os.path.realpath

    def swap(path: bytes) -> bytes:
        resolved = resolve(path)
        if resolved.endswith(b"/two"):
            (tmp_path / "top/one").rename(tmp_path / "top/moved")
            (tmp_path / "top/one").symlink_to(tmp_path / "secret")
            monkeypatch.setattr(os.path, "realpath", resolve)
        return resolved

    monkeypatch.setattr(os.path, "realpath", swap)
    with pytest.raises(OSError, match="symbolic links"):
        area(tmp_path, "top").open_directory(b"one/two")


def test_the_last_link_of_a_path_is_followed_if_requested(top: Directory, tmp_path: Path) -> None:
    (tmp_path / "top/one/here").symlink_to("two/file")
    (tmp_path / "top/one/out").symlink_to("../../secret/file")
    for where in (area(tmp_path, "top/one"), area(tmp_path, "."), Area(None, os.fsencode(tmp_path / "top"))):
        directory, name = where.parent(b"one/here")
        assert (is_at(directory, tmp_path / "top/one/two"), name) == (True, b"file")
        directory, name = where.parent(b"one/here", follow=False)
        assert (is_at(directory, tmp_path / "top/one"), name) == (True, b"here")
    with pytest.raises(Outside):
        area(tmp_path, "top/one").parent(b"one/out")
    assert area(tmp_path, "top/one").parent(b"one/out", follow=False)[1] == b"out"


def test_a_root_itself_is_not_below_a_root(top: Directory, tmp_path: Path) -> None:
    with pytest.raises(Outside):
        area(tmp_path, "top/one").parent(b"one")
    with pytest.raises(Outside):
        area(tmp_path, "top/one").parent(b"one/two/..")


@pytest.mark.parametrize("path", [b"/", b"/.", b"one/..", b".", b"/tmp/.."])
def test_a_path_without_a_last_name_has_no_parent(top: Directory, tmp_path: Path, path: bytes) -> None:
    assert failed(lambda: Area(None, b"/tmp").parent(path, follow=False)) == errno.EISDIR


def test_without_roots_every_directory_can_be_opened(top: Directory, tmp_path: Path) -> None:
    everywhere = Area(None, os.fsencode(tmp_path))
    (tmp_path / "way").symlink_to("top/one")
    assert is_at(everywhere.open_directory(b"way/two"), tmp_path / "top/one/two")
    assert is_at(everywhere.open_directory(b"/"), Path("/"))
    assert is_at(everywhere.parent(b"/x")[0], Path("/"))


@pytest.mark.parametrize("path", [b"", b"a\0b"])
def test_what_is_no_path_is_refused(top: Directory, path: bytes) -> None:
    assert failed(Area(None, b"/").open_directory, path) == errno.EINVAL
    assert failed(Area([b"/"], b"/").parent, path) == errno.EINVAL


def test_open_directories_are_used_again(top: Directory, tmp_path: Path) -> None:
    kept = OpenDirectories(top)
    assert kept.get(()) is top
    two = kept.get((b"one", b"two"))
    assert kept.get((b"one", b"two")) is two
    assert is_at(kept.get((b"one", b"two", b"three")), tmp_path / "top/one/two/three")
    kept.forget((b"one",))
    assert kept.get((b"one", b"two")) is not two


def test_only_so_many_directories_stay_open(top: Directory, tmp_path: Path) -> None:
    names = [b"%d" % number for number in range(3 * MAX_OPEN)]
    for name in names:
        (tmp_path / "top" / name.decode()).mkdir()
    before = len(own_descriptors())
    kept = OpenDirectories(top)
    used = kept.get((names[0],))
    for name in names:
        kept.get((name,))
    assert len(own_descriptors()) <= before + MAX_OPEN + 1
    assert is_at(used, tmp_path / "top/0")


def test_failures_leave_nothing_open(top: Directory, tmp_path: Path) -> None:
    (tmp_path / "top/one/two/way").symlink_to("/")
    before = len(own_descriptors())
    for components in ((b"one", b"two", b"none"), (b"one", b"two", b"way"), (b"one", b"none", b"x")):
        failed(top.below, components)
    for path in (b"one/none", b"/none/x"):
        failed(area(tmp_path, "top").open_directory, path)
    assert len(own_descriptors()) == before


def test_a_directory_swapped_for_a_link_again_and_again_is_never_left(top: Directory, tmp_path: Path) -> None:
    """Another thread swaps `one` for a link to `secret` and back all the time."""
    swapped, over = tmp_path / "top/one", threading.Event()
    (tmp_path / "secret/two/three").mkdir()
    (tmp_path / "way").symlink_to(tmp_path / "secret")

    def swap() -> None:
        while not over.is_set():
            swapped.rename(tmp_path / "aside")
            (tmp_path / "way").rename(swapped)
            swapped.rename(tmp_path / "way")
            (tmp_path / "aside").rename(swapped)

    right = (tmp_path / "top/one/two/three").stat()
    reached: list[Directory] = []
    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(2000):
            with contextlib.suppress(OSError):
                reached.append(top.below((b"one", b"two", b"three")))
                assert os.path.samestat(os.fstat(reached.pop().fd), right)
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM])
def test_where_openat2_is_refused_the_steps_are_taken(
    top: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    class Refusing:
        def syscall(self, *_: object) -> int:
            ctypes.set_errno(number)
            return -1

    monkeypatch.setattr(opening, "_libc", Refusing())
    assert is_at(top.below((b"one", b"two")), tmp_path / "top/one/two")


def test_a_refusal_can_be_pickled() -> None:
    refused = pickle.loads(pickle.dumps(Outside(b"/etc")))
    assert (refused.errno, refused.filename) == (errno.EACCES, b"/etc")
