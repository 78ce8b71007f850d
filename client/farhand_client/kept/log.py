"""The log of a kept process: what a terminal would have shown, with the time, in a file of bounded size."""

from __future__ import annotations

import contextlib
import os
from datetime import datetime
from pathlib import Path
from typing import Final

from farhand_protocol.limits import KiB
from farhand_protocol.sentences import printable

MAX_LOG_SIZE: Final = 256 * KiB
"""Bytes after which the log is begun again; one older is kept beside it (`.1`). Some thousand lines, of which an outage
writes two."""


class KeptLog:
    """Appends lines to a file. That it cannot be written, on a full disk for example, ends nothing."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        with contextlib.suppress(OSError):
            path.parent.mkdir(0o700, parents=True, exist_ok=True)

    def write(self, text: str) -> None:
        """Append a line with the time."""
        moment = datetime.now().astimezone().isoformat(timespec="seconds")
        line = f"{moment} {printable(text)}\n".encode(errors="backslashreplace")
        with contextlib.suppress(OSError):
            descriptor = os.open(
                self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
            try:
                os.write(descriptor, line)
                size = os.fstat(descriptor).st_size
            finally:
                os.close(descriptor)
            if size > MAX_LOG_SIZE:
                self.path.replace(self.path.with_name(f"{self.path.name}.1"))
