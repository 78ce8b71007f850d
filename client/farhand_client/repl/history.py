"""The lines that were typed, on disk for the next start, and for whoever else is at the same host now."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from prompt_toolkit.history import History

from farhand_protocol.limits import KiB, MiB

from .lines import encode

LOADED: Final = 512 * KiB
"""Bytes that are read, from the file's end: ten thousand lines, read in milliseconds."""

KEPT: Final = 2 * MiB
"""Bytes beyond which the file is cut down to what would be read of it."""

STEP: Final = 500
"""Entries given to the prompt at once: keys that are typed meanwhile wait for a millisecond."""

LONGEST_NAME: Final = 160
"""Bytes of a file's name that a host gives it; a longer one ends with a hash instead (NAME_MAX is 255)."""

_UNSAFE: Final = re.compile(rb"[^A-Za-z0-9@._:+-]|^\.")


def history_file(directory: Path, host: str) -> Path:
    """Return where the lines typed at `host`, which says user and address, are kept below the state `directory`."""
    name = _UNSAFE.sub(lambda match: b"%%%02X" % ord(match[0]), encode(host)).decode("ascii")
    if len(name) > LONGEST_NAME:
        from hashlib import sha256

        name = f"{name[:LONGEST_NAME]}-{sha256(encode(host)).hexdigest()[:16]}"
    return directory / "histories" / name


class DiskHistory(History):
    """A line for each entry, in which `\\` and newlines are escaped. Entries that begin with a space are not kept.

    What others write to the file meanwhile is there at the next prompt. The lines of `older`, which is only read, come
    before all of them. `problem` is what to tell the user, once: a history that cannot be read or written keeps nobody
    from working.
    """

    def __init__(self, path: Path, older: Path | None = None) -> None:
        super().__init__()
        self.problem: str | None = None
        self._path = path
        self._older = older
        self._fd = -1
        self._writable = True
        self._at = 0
        """Up to where the file was read; 0 where it was not."""
        self._ragged = False
        self._own = 0
        """How many of the latest entries were written here, and stand in the file behind `_at`."""
        self._open()

    async def load(self) -> AsyncGenerator[str, None]:
        """History, asked at each prompt. A thread reads the file: it may lie far away, and the prompt is there already.

        Nothing changes here where this is given up meanwhile.
        """
        if self._fd >= 0 and self._replaced():
            self._reopen()
        if self._fd >= 0:
            try:
                self._take(await asyncio.to_thread(_read, self._fd, self._path if self._writable else None, self._at))
                if not self._loaded and self._older is not None:
                    self._take_older(await asyncio.to_thread(_read_older, self._older))
            except OSError as error:
                self._fail(error, "read")
        self._loaded = True
        for count, entry in enumerate(list(self._loaded_strings), 1):
            yield entry
            if count % STEP == 0:
                await asyncio.sleep(0)

    def load_history_strings(self) -> Iterable[str]:
        """History. Everything is loaded by `load`."""
        return []

    def append_string(self, string: str) -> None:
        """History: neither what begins with a space nor what was just said is kept, as with ignoreboth in bash(1)."""
        if string.strip() and not string.startswith(" ") and self._loaded_strings[:1] != [string]:
            super().append_string(string)

    def store_string(self, string: str) -> None:
        """History."""
        if self._fd < 0 or not self._writable:
            return
        if self._replaced():
            self._reopen()
        try:
            os.write(self._fd, b"\n" + _escape(string) if self._ragged else _escape(string))
        except OSError as error:
            self._fail(error, "written")
        else:
            self._own += 1
            self._ragged = False

    def _take(self, read: _Tail) -> None:
        self._problems(read, self._path)
        # What was written here comes back, in the order in which the file has it.
        others = self._loaded_strings[self._own :]
        self._loaded_strings = read.entries + others if self._loaded else others + read.entries
        self._own, self._at, self._ragged = 0, read.end, read.ragged
        if read.shorter is not None:
            os.dup2(read.shorter, self._fd, inheritable=False)
            os.close(read.shorter)

    def _take_older(self, read: _Tail) -> None:
        assert self._older is not None
        self._problems(read, self._older)
        self._loaded_strings += read.entries

    def _problems(self, read: _Tail, path: Path) -> None:
        if read.skipped:
            self.problem = f"{read.skipped} lines of the history {path} are not text and skipped"

    def _replaced(self) -> bool:
        """Whether another program has put another file in the place of this one, or has removed it."""
        try:
            there, ours = self._path.stat(), os.fstat(self._fd)
        except OSError:
            return True
        return (there.st_ino, there.st_dev) != (ours.st_ino, ours.st_dev)

    def _reopen(self) -> None:
        os.close(self._fd)
        self._fd, self._at, self._own = -1, 0, 0
        self._loaded_strings, self._loaded = [], False
        self._open()

    def _open(self) -> None:
        flags = os.O_CLOEXEC | os.O_NONBLOCK
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | flags, 0o600)
        except OSError as error:
            self._fail(error, "written")
            try:
                self._fd = os.open(self._path, os.O_RDONLY | flags)
            except OSError:
                return

    def _fail(self, error: OSError, what: str) -> None:
        self.problem = f"the history {self._path} cannot be {what}: {error.strerror}; this session's lines are not kept"
        self._writable = False
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class _Tail(NamedTuple):
    entries: list[str]
    """The last one first."""
    skipped: int
    end: int
    """Up to where was read."""
    ragged: bool = False
    """Whether the last line has no end."""
    shorter: int | None = None
    """A file that has taken the place of one that was too long."""


def _read(fd: int, path: Path | None, at: int) -> _Tail:
    """Read the entries behind `at`, or the last ones; with `path` what is too long is made shorter. Raises OSError."""
    size = os.fstat(fd).st_size
    begin = max(size - LOADED, at)
    data = os.pread(fd, size - begin, begin) if size > begin else b""
    if begin > at:
        data = data.partition(b"\n")[2]
    rest = data.rpartition(b"\n")[2]
    if at:
        data = data[: len(data) - len(rest)]  # somebody is writing the rest
    entries, skipped = _entries(data)
    if at == 0 and size > KEPT and path is not None:
        return _Tail(entries, skipped, len(data), bool(rest), _cut(path, data))
    return _Tail(entries, skipped, size - len(rest) if at else size, bool(rest) and not at)


def _read_older(path: Path) -> _Tail:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:  # most have none
        return _Tail([], 0, 0)
    try:
        size = os.fstat(fd).st_size
        data = os.pread(fd, LOADED, max(size - LOADED, 0))
    except OSError:
        return _Tail([], 0, 0)
    finally:
        os.close(fd)
    entries, skipped = _entries(data.partition(b"\n")[2] if size > LOADED else data)
    return _Tail(entries, skipped, size)


def _cut(path: Path, data: bytes) -> int | None:
    shorter = path.with_name(f"{path.name}.{os.getpid()}")
    fd = os.open(shorter, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        if os.write(fd, data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        shorter.replace(path)
    except OSError:
        shorter.unlink(missing_ok=True)
        os.close(fd)
        raise
    return fd


def _entries(data: bytes) -> tuple[list[str], int]:
    lines = [line for line in data.split(b"\n") if line]
    entries = [entry for line in lines if (entry := _unescape(line)) is not None]
    entries.reverse()
    return entries, len(lines) - len(entries)


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
