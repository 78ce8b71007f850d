"""The history of typed lines, one file for each host, which all prompts on that host share.

Whatever a line consists of is kept and returned byte for byte: any character, control characters, and bytes that are
not UTF-8. Only NUL cannot occur in a command; in a file it is what a crash of the machine leaves behind.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections.abc import AsyncGenerator, Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from prompt_toolkit.history import History

from farhand_protocol.limits import KiB, MiB
from farhand_protocol.sentences import counted

from .lines import decode, encode

MAX_LOADED: Final = 512 * KiB
"""Bytes that are read from the end of the file: ten thousand lines, read in milliseconds."""

MAX_HISTORY_FILE: Final = 2 * MiB
"""Bytes of the file; a larger one is cut down to its last `MAX_LOADED` bytes."""

ENTRIES_PER_TURN: Final = 500
"""Entries passed to the prompt in one turn of the event loop, which delays typed keys by a millisecond."""

MAX_HOST_IN_NAME: Final = 160
"""Bytes of a host's name in the name of its file; of a longer name a hash replaces the rest (NAME_MAX is 255)."""

_UNSAFE: Final = re.compile(rb"[^A-Za-z0-9@._:+-]|^\.")


def history_file(directory: Path, host: str) -> Path:
    """Return the file below the state `directory` for the lines typed on `host`, the user's name for it."""
    name = _UNSAFE.sub(lambda match: b"%%%02X" % ord(match[0]), encode(host)).decode("ascii")
    if len(name) > MAX_HOST_IN_NAME:
        from hashlib import sha256

        name = f"{name[:MAX_HOST_IN_NAME]}-{sha256(encode(host)).hexdigest()[:16]}"
    return directory / "histories" / name


class DiskHistory(History):
    """A history in the file `path`: a line for each entry, with only backslashes and newlines escaped.

    Entries that begin with a space are not stored. Entries that other processes append appear at the next prompt. Those
    of the file `older`, which is only read, precede all others. A file that cannot be read or written does not stop the
    prompt: `problem` is then a message for the user, and the entries are kept in memory.
    """

    def __init__(self, path: Path, older: Path | None = None) -> None:
        super().__init__()
        self.problem: str | None = None
        self._path = path
        self._older = older
        self._fd = -1
        self._writable = True
        self._read_to = 0
        """The offset up to which the file was read; 0 before the first read."""
        self._unterminated = False
        """Whether the last line of the file has no newline."""
        self._written = 0
        """How many of the latest entries were written here, and are in the file after `_read_to`."""
        self._open()

    async def load(self) -> AsyncGenerator[str, None]:
        """Implements `History`. The prompt calls it each time.

        A thread reads the file, which may be on a slow file system, while the prompt is shown already. If this is
        cancelled meanwhile, the state is unchanged.
        """
        if self._fd >= 0 and self._replaced():
            self._reopen()
        if self._fd >= 0:
            try:
                path = self._path if self._writable else None
                self._merge(await asyncio.to_thread(_read, self._fd, path, self._read_to))
                if not self._loaded and self._older is not None:
                    self._append_older(await asyncio.to_thread(_read_older, self._older))
            except OSError as error:
                self._give_up(error, "read")
        self._loaded = True
        for count, entry in enumerate(list(self._loaded_strings), 1):
            yield entry
            if count % ENTRIES_PER_TURN == 0:
                await asyncio.sleep(0)

    @property
    def latest_first(self) -> Sequence[str]:
        """The entries; for `get_strings` prompt_toolkit copies them."""
        return self._loaded_strings

    def load_history_strings(self) -> Iterable[str]:
        """Implements `History`. `load` loads everything."""
        return []

    def append_string(self, string: str) -> None:
        """Implements `History`. Skips repetitions and what begins with a space, as ignoreboth in bash(1)."""
        if string.strip(" \t\n") and not string.startswith(" ") and self._loaded_strings[:1] != [string]:
            super().append_string(string)

    def store_string(self, string: str) -> None:
        """Implements `History`."""
        if self._fd < 0 or not self._writable or "\0" in string:
            return
        if self._replaced():
            self._reopen()
        data = b"\n" + _escape(string) if self._unterminated else _escape(string)
        try:
            if os.write(self._fd, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._give_up(error, "written")
        else:
            self._written += 1
            self._unterminated = False

    def _merge(self, read: _Tail) -> None:
        self._report_skipped(read, self._path)
        # The file contains what was written here in its final order, perhaps between the entries of others.
        earlier = self._loaded_strings[self._written :]
        self._loaded_strings = read.entries + earlier if self._loaded else earlier + read.entries
        self._written, self._read_to, self._unterminated = 0, read.end, read.unterminated
        if read.shorter is not None:
            os.dup2(read.shorter, self._fd, inheritable=False)
            os.close(read.shorter)

    def _append_older(self, read: _Tail) -> None:
        assert self._older is not None
        self._report_skipped(read, self._older)
        self._loaded_strings += read.entries

    def _report_skipped(self, read: _Tail, path: Path) -> None:
        if read.skipped:
            self.problem = (
                f"skipped {counted(read.skipped, 'line')} with NUL bytes in the history {path}, which is damaged"
            )

    def _replaced(self) -> bool:
        """Return whether another program has replaced or removed the file."""
        try:
            there, ours = self._path.stat(), os.fstat(self._fd)
        except OSError:
            return True
        return (there.st_ino, there.st_dev) != (ours.st_ino, ours.st_dev)

    def _reopen(self) -> None:
        os.close(self._fd)
        self._fd, self._read_to, self._written = -1, 0, 0
        self._loaded_strings, self._loaded = [], False
        self._open()

    def _open(self) -> None:
        flags = os.O_CLOEXEC | os.O_NONBLOCK
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | flags, 0o600)
        except OSError as error:
            self._give_up(error, "written")
            try:
                self._fd = os.open(self._path, os.O_RDONLY | flags)
            except OSError:
                return

    def _give_up(self, error: OSError, what: str) -> None:
        self.problem = f"the history {self._path} cannot be {what}: {error.strerror}; this session's lines are not kept"
        self._writable = False
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class _Tail(NamedTuple):
    entries: list[str]
    """Latest first."""
    skipped: int
    end: int
    """The offset up to which the file was read."""
    unterminated: bool = False
    """Whether the last line has no newline."""
    shorter: int | None = None
    """The descriptor of a file that has replaced one that was too long."""


def _read(fd: int, path: Path | None, at: int) -> _Tail:
    """Read the entries after offset `at`, or the last ones; with `path` shorten a file too long. Raises OSError."""
    size = os.fstat(fd).st_size
    begin = max(size - MAX_LOADED, at)
    data = os.pread(fd, size - begin, begin) if size > begin else b""
    if begin > at:
        data = data.partition(b"\n")[2]
    rest = data.rpartition(b"\n")[2]
    if at:
        data = data[: len(data) - len(rest)]  # another process is writing the rest
    entries, skipped = _entries(data)
    if at == 0 and size > MAX_HISTORY_FILE and path is not None:
        return _Tail(entries, skipped, len(data), bool(rest), _replace(path, data))
    return _Tail(entries, skipped, size - len(rest) if at else size, bool(rest) and not at)


def _read_older(path: Path) -> _Tail:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:  # most users have none
        return _Tail([], 0, 0)
    try:
        size = os.fstat(fd).st_size
        data = os.pread(fd, MAX_LOADED, max(size - MAX_LOADED, 0))
    except OSError:
        return _Tail([], 0, 0)
    finally:
        os.close(fd)
    entries, skipped = _entries(data.partition(b"\n")[2] if size > MAX_LOADED else data)
    return _Tail(entries, skipped, size)


def _replace(path: Path, data: bytes) -> int | None:
    """Replace the file with one that contains `data`; return its descriptor."""
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
    if b"\0" in line:
        return None
    return "\\".join(part.replace("\\n", "\n") for part in decode(line).split("\\\\"))
