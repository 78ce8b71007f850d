"""A file that is written as a whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from farhand_client.ui.printing import LocalError
from farhand_client.ui.streams import descriptor_writer
from farhand_protocol.limits import KiB

STDOUT: Final = "-"

_BUFFERED: Final = 64 * KiB
"""Bytes that are written at once."""


class Destination:
    """While entered, takes what is to be in the file `path`, or on stdout where that is `-`.

    A regular file is replaced by `keep`, and without that left as it was; a new one is for this user only, and one that
    was there keeps its permissions. Anything else (a pipe, a device) gets it by and by. Raises `LocalError`, and
    BrokenPipeError where nobody reads.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._new: Path | None = None
        self._buffer = bytearray()

    async def write(self, data: bytes) -> None:
        """Add this."""
        self._buffer += data
        if len(self._buffer) >= _BUFFERED:
            await self._flush()

    async def keep(self) -> None:
        """It is complete."""
        await self._flush()
        if self._new is not None:
            try:
                self._new.replace(Path(self._path).resolve())
            except OSError as error:
                raise self._failed(error) from None
            self._new = None

    def __enter__(self) -> Self:
        try:
            self._fd = self._open()
        except OSError as error:
            raise self._failed(error) from None
        self._writer = descriptor_writer(self._fd)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._path != STDOUT:
            os.close(self._fd)
        if self._new is not None:
            self._new.unlink(missing_ok=True)

    def _open(self) -> int:
        if self._path == STDOUT:
            return 1
        target = Path(self._path).resolve()
        mode = target.stat().st_mode if target.exists() else None
        if mode is not None and not stat.S_ISREG(mode):
            return os.open(target, os.O_WRONLY | os.O_CLOEXEC)
        fd, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        self._new = Path(name)
        if mode is not None:
            os.fchmod(fd, stat.S_IMODE(mode))
        return fd

    async def _flush(self) -> None:
        data, self._buffer = bytes(self._buffer), bytearray()
        try:
            await self._writer.write([data])
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> LocalError:
        where = "stdout" if self._path == STDOUT else self._path
        return LocalError(f"cannot write {where}: {error.strerror}")
