"""The capacity of the pipes between programs and the service."""

from __future__ import annotations

import contextlib
import fcntl
from typing import Final

PIPE_SIZE: Final = 1 << 20
"""Capacity in bytes to which a pipe is enlarged once it was full (F_SETPIPE_SZ, fcntl(2)): fewer switches between
program and service, and of four frames of stdin that arrive together none has to wait."""


def enlarge_pipe(descriptor: int) -> None:
    """Enlarge a pipe to `PIPE_SIZE`. The kernel refuses that beyond the account's share of pipe memory (pipe(7)), and
    the pipe works without it, too."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
