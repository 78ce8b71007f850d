"""The capacity of the pipes between programs and the service."""

from __future__ import annotations

import contextlib
import fcntl
from typing import Final

PIPE_SIZE: Final = 1 << 20
"""Capacity in bytes to which a pipe with output is enlarged if its writer fills it (F_SETPIPE_SZ, fcntl(2)): fewer
switches between writer and service."""

STDIN_PIPE_SIZE: Final = 256 << 10
"""The same for stdin: of four frames that arrive together, none has to wait. It is half of the bytes for which credit
is granted at a time, so that none is granted to a client whose program reads nothing."""


def enlarge_pipe(descriptor: int, size: int) -> None:
    """Enlarge a pipe to `size` bytes. The kernel refuses that beyond the account's share of pipe memory (pipe(7)), and
    the pipe works without it, too."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, size)
