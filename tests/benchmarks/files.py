"""The workloads of files: a large one, many small ones, and a tree of which nothing has changed, beside scp and rsync.

Each measurement has a destination of its own, and before it everything is written to disk, so that nobody waits for
what another has left. The copies of many files are not removed before the end: ext4 passes over the inodes that were
deleted in the last minute or five, one by one, for each file that it makes (`recently_deleted` in fs/ext4/ialloc.c),
which took most of a receiver's time, whoever received. Farhand has each file on disk before it replaces anything,
which neither of the others do; how long that takes is shown by measuring it without, too.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from .clients import Clients
from .made_files import make_files, make_large_file
from .workload import (
    FARHAND,
    FARHAND_DIRECT,
    FARHAND_NO_FSYNC,
    RSYNC,
    SCP,
    Goal,
    Sample,
    Sizes,
    Workload,
)

SMALL_FILE: Final = 4 << 10
"""Bytes of a small file: more than half of those on a usual machine are no larger."""

Command = Callable[[], tuple[str, ...]]


class Files:
    """Workloads that copy from one directory of this machine to another, through the services."""

    def __init__(self, clients: Clients, sizes: Sizes) -> None:
        self._clients = clients
        self._sizes = sizes
        self._host = clients.servers.host
        base = clients.servers.bench.directory / "files"
        self._large: Final = base / "large"
        self._small: Final = base / "small"
        self._tree: Final = base / "tree"
        self._base: Final = base
        self._number = 0
        """That of the present measurement's destination."""

    def workloads(self) -> list[Workload]:
        """Return all of them, in the order of the table."""
        return [
            self._copying("put", self._large, f"a file of {self._sizes.file >> 20} MiB", self._make_large, 2, 1),
            self._copying("get", self._large, f"a file of {self._sizes.file >> 20} MiB", self._make_large, 2, 1),
            self._copying("put", self._small, f"{self._sizes.files} files of 4 KiB", self._make_small, None, 1.5),
            self._copying("get", self._small, f"{self._sizes.files} files of 4 KiB", self._make_small, None, 1.5),
            self._unchanged(),
        ]

    def _copying(
        self,
        way: str,
        source: Path,
        what: str,
        make: Callable[[], None],
        than_scp: float | None,
        than_rsync: float,
    ) -> Workload:
        large = source == self._large
        amount = self._sizes.file if large else self._sizes.files

        def take(contestant: str, command: Command, *, metered: bool = False) -> Callable[[], Awaitable[Sample]]:
            async def once() -> Sample:
                await asyncio.to_thread(self._prepare, make)
                seconds, cpu = await self._clients.whole(*command())
                self._check(source, contestant)
                if large:
                    (self._copies / source.name).unlink()
                return Sample(amount / seconds / (1e6 if large else 1), {"client": cpu})

            return (lambda: self._clients.metered(once)) if metered else once

        def farhand(*options: str) -> Command:
            start = (*self._clients.farhand, way, "-q", *options, *self._clients.key, self._host, str(source))
            return lambda: (*start, str(self._copies / source.name))

        def other(*start: str) -> Command:
            return lambda: _between(way, start, str(source), str(self._copies / source.name))

        goals = [Goal(FARHAND, than_rsync, RSYNC)]
        if than_scp is not None:
            goals.insert(0, Goal(FARHAND, than_scp, SCP))
        recursive = () if large else ("-r",)
        return Workload(
            f"{way} of {what}, whole client process",
            "MB/s" if large else "files/s",
            True,
            {
                FARHAND: take(FARHAND, farhand(), metered=True),
                FARHAND_DIRECT: take(FARHAND_DIRECT, farhand("--no-mux"), metered=True),
                FARHAND_NO_FSYNC: take(FARHAND_NO_FSYNC, farhand("--no-fsync"), metered=True),
                SCP: take(SCP, other("scp", "-q", *self._clients.ssh[1:], *recursive)),
                RSYNC: take(
                    RSYNC,
                    other(*self._rsync, "-a")
                    if large
                    else lambda: _between(way, self._rsync_all, f"{source}/", f"{self._copies / source.name}/"),
                ),
            },
            goals,
            amount / (1 << 30) if large else amount,
            "GiB" if large else "file",
        )

    def _unchanged(self) -> Workload:
        source, copy = self._tree, self._base / "tree-copy"

        def take(*command: str, metered: bool = False) -> Callable[[], Awaitable[Sample]]:
            async def once() -> Sample:
                if not copy.exists():
                    await asyncio.to_thread(self._prepare, self._make_tree)
                    await asyncio.to_thread(shutil.copytree, source, copy)  # with the times
                seconds, cpu = await self._clients.whole(*command)
                return Sample(self._sizes.tree / seconds, {"client": cpu})

            return (lambda: self._clients.metered(once)) if metered else once

        farhand = (*self._clients.farhand, "sync", "-q", *self._clients.key)
        paths = (f"{source}/", f"{self._host}:{copy}/")
        return Workload(
            f"sync of {self._sizes.tree} files that are up to date, whole client process",
            "files/s",
            True,
            {
                FARHAND: take(*farhand, *paths, metered=True),
                FARHAND_DIRECT: take(*farhand, "--no-mux", *paths, metered=True),
                RSYNC: take(*self._rsync, "-a", f"{source}/", f"bench:{copy}/"),
            },
            [Goal(FARHAND, 1, RSYNC)],
            self._sizes.tree,
            "file",
        )

    @property
    def _rsync(self) -> tuple[str, ...]:
        return ("rsync", "-e", " ".join(self._clients.ssh))

    @property
    def _rsync_all(self) -> tuple[str, ...]:
        return (*self._rsync, "-a")

    @property
    def _copies(self) -> Path:
        return self._base / f"copies-{self._number}"

    # The files

    def _prepare(self, make: Callable[[], None]) -> None:
        self._number += 1
        self._copies.mkdir(parents=True)
        make()
        os.sync()

    def _make_large(self) -> None:
        make_large_file(self._large, self._sizes.file)

    def _make_small(self) -> None:
        make_files(self._small, self._sizes.files, SMALL_FILE)

    def _make_tree(self) -> None:
        make_files(self._tree, self._sizes.tree, 1)

    def _check(self, source: Path, contestant: str) -> None:
        """Raise RuntimeError if the copy lacks anything. Farhand and rsync say so themselves; this is about paths."""
        copy = self._copies / source.name
        if _size(copy) != _size(source):
            raise RuntimeError(f"{contestant} has not copied everything to {copy}")


def _between(way: str, start: tuple[str, ...], source: str, copy: str) -> tuple[str, ...]:
    """Return the command of ssh's kind that copies a source here to the other side, or from there."""
    return (*start, source, f"bench:{copy}") if way == "put" else (*start, f"bench:{source}", copy)


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(Path(directory, name).stat().st_size for directory, _, names in os.walk(path) for name in names)
