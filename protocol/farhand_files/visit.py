"""A directory that is being walked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Protocol

from .sources import SourceDirectory


class Scan(Protocol):
    """What `os.scandir` returns."""

    def __iter__(self) -> Iterator[os.DirEntry[str]]: ...

    def close(self) -> None:
        """Close the descriptor from which the directory is read."""


class Visit:
    """A directory that is being walked."""

    def __init__(self, place: SourceDirectory, path: bytes, number: int) -> None:
        self.place = place
        self.path = path
        self.number = number
        self.scan: Scan | None = None
        self.fd = -1
        self.below: list[tuple[bytes, int]] = []
        self.complete = True
        self.over = False

    def close(self) -> None:
        """Close the descriptor that is being read."""
        if self.scan is not None:
            self.scan.close()
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
