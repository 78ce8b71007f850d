"""Prints what the commands themselves have to say on stdout."""

from __future__ import annotations

import os
import sys

from farhand_client.errors import FarhandError


class LocalError(FarhandError):
    """A file of this process cannot be read or written."""


def show(text: str, what: str = "") -> None:
    """Print a line or several. Raises BrokenPipeError where nobody reads stdout.

    Raises `LocalError` where it cannot be written; that says `what` is meant.
    """
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        forget(1)
        raise LocalError(f"cannot write {f'{what} ' if what else ''}to stdout: {error.strerror}") from None


def forget(fd: int) -> None:
    """Let what is still in Python's buffer for stdout or stderr go nowhere: it would be tried again at the end, and
    make the exit code 120."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, fd)
    os.close(null)
