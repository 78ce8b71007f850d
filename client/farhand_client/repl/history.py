"""The lines that were typed, on disk for the next start."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path
from typing import Final

from prompt_toolkit.history import History

from farhand_protocol.limits import KiB, MiB

from .lines import encode

LOADED: Final = 512 * KiB
"""Bytes that are read, from the file's end: ten thousand lines, read in milliseconds."""

KEPT: Final = 2 * MiB
"""Bytes beyond which the file is cut down to what would be read of it."""


class DiskHistory(History):
    """A line for each entry, in which `\\` and newlines are escaped. Entries that begin with a space are not kept.

    `problem` is what to tell the user, once: a history that cannot be read or written keeps nobody from working.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.problem: str | None = None
        self._path = path
        self._fd = -1
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        except OSError as error:
            self._fail(error)

    async def load(self) -> AsyncGenerator[str, None]:
        """History. The file is read by a thread: it may lie far away, and the prompt is there already."""
        if not self._loaded:
            self._loaded = True
            entries = await asyncio.to_thread(lambda: list(self.load_history_strings()))
            self._loaded_strings = [*self._loaded_strings, *entries]
        for entry in self._loaded_strings:
            yield entry

    def load_history_strings(self) -> Iterable[str]:
        """History: the last entry first."""
        if self._fd < 0:
            return []
        try:
            size = os.fstat(self._fd).st_size
            data = os.pread(self._fd, LOADED, max(size - LOADED, 0))
            if size > LOADED:
                data = data.partition(b"\n")[2]
            if size > KEPT:
                self._cut(data)
        except OSError as error:
            self._fail(error)
            return []
        lines = [line for line in data.split(b"\n") if line]
        entries = [entry for line in lines if (entry := _unescape(line)) is not None]
        if len(entries) < len(lines):
            self.problem = f"{len(lines) - len(entries)} lines of the history {self._path} are not text and skipped"
        entries.reverse()
        return entries

    def append_string(self, string: str) -> None:
        """History: neither what begins with a space nor what was just said is kept, as with ignoreboth in bash(1)."""
        if string.strip() and not string.startswith(" ") and self._loaded_strings[:1] != [string]:
            super().append_string(string)

    def store_string(self, string: str) -> None:
        """History."""
        if self._fd >= 0:
            try:
                os.write(self._fd, _escape(string))
            except OSError as error:
                self._fail(error)

    def _cut(self, data: bytes) -> None:
        shorter = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        fd = os.open(shorter, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, data)
            shorter.replace(self._path)
        except OSError:
            shorter.unlink(missing_ok=True)
            os.close(fd)
            raise
        os.dup2(fd, self._fd, inheritable=False)
        os.close(fd)

    def _fail(self, error: OSError) -> None:
        self.problem = f"the history {self._path} cannot be used: {error.strerror}; this session's lines are not kept"
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _escape(entry: str) -> bytes:
    return encode(entry.replace("\\", "\\\\").replace("\n", "\\n") + "\n")


def _unescape(line: bytes) -> str | None:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return None
    if not text.replace("\t", " ").isprintable():
        return None
    return "\\".join(part.replace("\\n", "\n") for part in text.split("\\\\"))
