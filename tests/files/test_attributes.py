"""Owner, extended attributes, mode and times of what was received."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from farhand_files import attributes, wire
from farhand_files.attributes import Attributes, OwnerIds, make_usable, owner_of
from farhand_files.opening import Area, Directory
from tests.support.transferring import put_options

ROOT = pwd.getpwuid(0).pw_name


@pytest.fixture(params=["proc", "descriptor"], autouse=True)
def _both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attributes, "_PROC", request.param == "proc")


@pytest.mark.parametrize(
    ("text", "owner"),
    [("", (-1, -1)), ("5", (5, -1)), (":7", (-1, 7)), ("5:7", (5, 7)), (ROOT, (0, -1)), (f"{ROOT}:0", (0, 0))],
)
def test_an_owner_is_a_name_or_a_number(text: str, owner: tuple[int, int]) -> None:
    assert owner_of(put_options("x", owner=text)) == OwnerIds(*owner)


@pytest.mark.parametrize(("text", "what"), [("no-such-user", "user"), (":no-such-group", "group")])
def test_an_owner_that_does_not_exist_is_refused(text: str, what: str) -> None:
    with pytest.raises(OSError, match=f"there is no {what} 'no-such-{what}' on this machine"):
        Attributes(put_options("x", owner=text))


@pytest.mark.parametrize("text", ["4294967295", ":4294967295", "9" * 200])
def test_a_number_that_no_owner_has_is_refused(text: str) -> None:
    assert owner_of(put_options("x", owner="4294967294")) == OwnerIds(4294967294)
    with pytest.raises(OSError, match="the largest number is 4294967294"):
        owner_of(put_options("x", owner=text))


class Owners:
    """Records who would own a file."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.given: list[tuple[int, int]] = []
        for name in ("chown", "fchown"):
            monkeypatch.setattr(os, name, self._record)

    def _record(self, _: object, uid: int, gid: int, **__: object) -> None:
        self.given.append((uid, gid))


def test_a_file_gets_its_attributes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owners = Owners(monkeypatch)
    (tmp_path / "file").touch()
    fd = os.open(tmp_path / "file", os.O_RDWR)
    Attributes(put_options("x", owner="5:7")).set_for_file(fd, 0o640, 123_456_789, b"")
    status = os.fstat(fd)
    assert (status.st_mode & 0o7777, status.st_mtime_ns, owners.given) == (0o640, 123_456_789, [(5, 7)])
    Attributes(put_options("x", times=False)).set_for_file(fd, 0o600, 1, b"")
    assert os.fstat(fd).st_mtime_ns == 123_456_789
    os.close(fd)


def test_a_directory_and_a_link_get_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owners = Owners(monkeypatch)
    (tmp_path / "below").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to("below")
    made = Attributes(put_options("x", owner="5"))
    with Area(None, b"/").open_directory(os.fsencode(tmp_path)) as top, top.child(b"below") as below:
        made.set_for_new_directory(below, b"")
        made.set_for_directory(below, 0o750, 10**18)
        made.set_for_symlink(top, b"link", 10**18)
    assert owners.given == [(5, -1)] * 2
    for path in (tmp_path / "below", tmp_path / "link"):
        assert path.lstat().st_mtime_ns == 10**18
    assert (tmp_path / "below").stat().st_mode & 0o777 == 0o750


def test_a_file_that_stays_gets_its_mode_and_time_where_there_is_no_o_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_PATH")
    (tmp_path / "file").touch()
    with Directory(os.open(tmp_path / "file", os.O_RDONLY), b"file") as file:
        Attributes(put_options("x")).set_for_directory(file, 0o640, 5 * 10**17)
    status = (tmp_path / "file").stat()
    assert (status.st_mode & 0o7777, status.st_mtime_ns) == (0o640, 5 * 10**17)


def test_a_directory_is_made_usable(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir(mode=0o055)
    with Area(None, b"/").open_directory(os.fsencode(tmp_path)) as top, top.child(b"below") as below:
        if attributes._PROC or not os.geteuid():  # noqa: SLF001 - which of the two ways is tried
            make_usable(below)
        else:
            (tmp_path / "below").chmod(0o755)
    assert (tmp_path / "below").stat().st_mode & 0o777 == 0o755


def setting(monkeypatch: pytest.MonkeyPatch, number: int) -> Callable[[], list[bytes]]:
    names: list[bytes] = []

    def record(_: object, name: bytes, __: bytes) -> None:
        names.append(name)
        if number:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "setxattr", record)
    return lambda: names


XATTRS = wire.pack_xattrs([(b"user.a", b"1"), (b"security.capability", b"2"), (b"system.posix_acl_access", b"3")])


@pytest.mark.parametrize("number", [0, 95])
def test_only_harmless_extended_attributes_are_set(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    names = setting(monkeypatch, number)
    Attributes(put_options("x", xattrs=True)).set_xattrs(0, XATTRS)
    assert names() == [b"user.a", b"system.posix_acl_access"]


def test_an_extended_attribute_that_does_not_fit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    setting(monkeypatch, 28)
    with pytest.raises(OSError, match="No space"):
        Attributes(put_options("x", xattrs=True)).set_xattrs(0, XATTRS)


def test_extended_attributes_are_set_only_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    names = setting(monkeypatch, 0)
    Attributes(put_options("x")).set_xattrs(0, XATTRS)
    assert names() == []
