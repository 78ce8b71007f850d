"""What a worker does that sweeps: removes the temporary files that transfers to one destination have left behind.

Only the destination of a transfer is on record, so the directories below it are searched, too. What is removed, the
receiver's own rules say (`farhand_files.temporary`): files under its names that are the user's, that nobody holds, and
that are old.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from typing import Final

from farhand_files.names import is_temporary
from farhand_files.opening import Area, Directory, OpenDirectories
from farhand_files.temporary import Leftovers

from .order import OrderFile, TransferOrder, TransferReport

MAX_ENTRIES: Final = 100_000
"""Entries of directories that are looked at below one destination: a large tree, listed in less than a second. Beyond
that, leftovers wait for the next transfer to their directory, which removes them as well."""

MAX_DEPTH: Final = 2048
"""Directories above one another: a path of 4,096 bytes (`farhand_files.wire.MAX_PATH`) has no more components."""

SWEPT: Final = 0
NOT_SWEPT: Final = 1


def serve_sweep(order: TransferOrder, order_file: OrderFile) -> int:
    """Sweep the destinations of an order; report after each directory what was removed, and return the exit code."""
    area = Area(order.roots, order.home, order.writable)
    report = TransferReport()
    for path in order.paths:
        try:
            for removed in sweep_destination(area, order.located(path), order.before):
                report = report._replace(deleted=report.deleted + removed)
                order_file.write_report(report)
        except OSError:  # it is gone, or not the user's any more
            report = report._replace(failed=report.failed + 1)
    order_file.write_report(report._replace(complete=True))
    return NOT_SWEPT if report.failed else SWEPT


def sweep_destination(area: Area, path: bytes, before: float, entries: int = MAX_ENTRIES) -> Iterator[int]:
    """Remove what was left in a directory and below it, or, for a destination that is none, beside it.

    Yield, for each directory that has temporary files, the number of those that were removed. `entries` bounds the
    search. Raises OSError if the destination cannot be opened.
    """
    try:
        top = area.open_directory(path)
    except (FileNotFoundError, NotADirectoryError):
        beside, _ = area.parent(path)
        yield Leftovers(beside).sweep(before)
        return
    directories = OpenDirectories(top)
    waiting: deque[tuple[bytes, ...]] = deque([()])
    while waiting and entries > 0:
        components = waiting.popleft()
        try:
            directory = directories.get(components)
            left = False
            for name, is_directory in _entries(directory):
                entries -= 1
                if entries < 0:
                    break
                if is_directory and len(components) < MAX_DEPTH:
                    waiting.append((*components, name))
                left = left or is_temporary(name)
        except OSError:  # removed meanwhile, or not the user's to read
            continue
        if left:
            yield Leftovers(directory).sweep(before)


def _entries(directory: Directory) -> Iterator[tuple[bytes, bool]]:
    """Yield the names in a directory, and whether each is a directory and no symbolic link to one."""
    fd = directory.readable()
    try:
        with os.scandir(fd) as entries:
            for entry in entries:
                yield os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)
    finally:
        os.close(fd)
