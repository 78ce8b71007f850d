"""What is up to date: what is compared, what is sent then, and what is set nevertheless."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from farhand_files import events, wire
from tests.support.joined_transfer import OPTIONS, JoinedTransfer, snapshot, transfer
from tests.support.transfer_trees import CHUNK, LONG_AGO, RANDOM, settle, write


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("in_place", [True, False])
def test_with_checksum_what_has_the_same_digest_is_up_to_date(tmp_path: Path, dry_run: bool, in_place: bool) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    data = RANDOM.randbytes(2 * CHUNK + 5)
    write(source / "large", data, LONG_AGO)
    write(source / "small", b"same", LONG_AGO)
    write(source / "empty", b"", LONG_AGO)
    shutil.copytree(source, target)
    write(source / "changed", data, LONG_AGO)
    write(target / "changed", data[:CHUNK] + b"-" + data[CHUNK + 1 :], LONG_AGO)
    write(source / "zeros", bytes(CHUNK), LONG_AGO)
    write(target / "zeros", data[:CHUNK], LONG_AGO)
    os.utime(target / "small", ns=(LONG_AGO, LONG_AGO + 1))
    before = snapshot(os.fsencode(target))
    options = OPTIONS._replace(checksum=True, dry_run=dry_run, in_place=in_place)
    joined = JoinedTransfer([os.fsencode(source) + b"/"], os.fsencode(target), options)
    totals = joined.finish()
    assert (totals.files, totals.failed) == (2, 0)
    assert totals.skipped == 3
    for seen in (joined.sent, joined.received):
        assert {each.path for each in seen if isinstance(each, events.Finished)} == {b"changed", b"zeros"}
        told = events.Placed(b"small", wire.REGULAR, wire.ATTRIBUTES)
        assert [each for each in seen if isinstance(each, events.Placed) and each.kind == wire.REGULAR] == [told]
    assert snapshot(os.fsencode(target)) == (before if dry_run else snapshot(os.fsencode(source)))
    if dry_run:
        assert totals.sent == 0, "nothing of the content is sent, though it had to be read"


def test_what_is_up_to_date_gets_the_owner_and_the_extended_attributes_that_are_requested(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for name in ("file", "below/file"):
        write(source / name, b"content")
    (source / "link").symlink_to("file")
    settle(source)
    transfer(os.fsencode(source) + b"/", os.fsencode(target))
    os.setxattr(source / "file", "user.origin", b"here")
    os.setxattr(target / "below" / "file", "user.other", b"stays")
    owner = (os.geteuid() + 1, os.getegid()) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    options = OPTIONS._replace(xattrs=True, owner=f"{owner[0]}:{owner[1]}")
    joined = JoinedTransfer([os.fsencode(source) + b"/"], os.fsencode(target), options)
    totals = joined.finish()
    assert (totals.files, totals.skipped, totals.failed) == (0, 2, 0)
    assert os.getxattr(target / "file", "user.origin") == b"here"
    assert os.getxattr(target / "below" / "file", "user.other") == b"stays"
    for name in ("file", "below", "below/file", "link"):
        status = os.lstat(target / name)
        assert (status.st_uid, status.st_gid) == owner
    changed = {b"file", b"below", b"below/file", b"link"} if os.geteuid() == 0 else {b"file"}
    assert {each.path for each in joined.sent if isinstance(each, events.Placed)} == changed
    again = JoinedTransfer([os.fsencode(source) + b"/"], os.fsencode(target), options)
    again.finish()
    assert not [each for each in again.sent if isinstance(each, events.Placed)], "then nothing is left to be done"
