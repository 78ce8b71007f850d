"""Prints the client's own results on stdout and its messages on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from farhand_client.errors import FarhandError

from .text import printable

if TYPE_CHECKING:
    from farhand_client.output import Gap

PrintMessage: TypeAlias = "Callable[[str], None]"
"""Shows a message of the client to the user, as `print_message` does on stderr."""


class LocalError(FarhandError):
    """A file or stream of this process cannot be read or written."""


def print_message(text: str) -> None:
    """Print `farhand: TEXT` on stderr, control characters escaped and continuation lines indented.

    If stderr cannot be written, this and later messages are dropped.
    """
    lines = "\n  ".join(map(printable, text.split("\n")))
    try:
        sys.stderr.write(f"farhand: {lines}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        discard_buffer(2)


def print_gap(gap: Gap) -> None:
    """Print on stderr which bytes of output are missing; for `on_gap`."""
    print_message(str(gap))


def print_output(text: str, what: str = "") -> None:
    """Print one or more lines on stdout.

    Raises BrokenPipeError if nobody reads stdout, and `LocalError`, which names `what`, if it cannot be written.
    """
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        discard_buffer(1)
        raise LocalError(f"cannot write {f'{what} ' if what else ''}to stdout: {error.strerror}") from None


def print_json(values: dict[str, Any]) -> None:
    """Print one JSON object as a line on stdout. Raises as `print_output` does."""
    import json

    print_output(json.dumps(values))


def discard_buffer(fd: int) -> None:
    """Point stdout (1) or stderr (2) at /dev/null.

    Otherwise Python would try to write its buffer again at exit, fail, and exit with 120.
    """
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, fd)
    os.close(null)
