"""Prints the client's own results on stdout and its messages on stderr."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import sys

from farhand_client.errors import FarhandError
from farhand_protocol.sentences import printable_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeAlias

    from farhand_client.output import Gap
    from farhand_protocol.messages import RunInfo

PrintMessage: TypeAlias = "Callable[[str], None]"
"""Shows a message of the client to the user, as `print_message` does on stderr."""


class LocalError(FarhandError):
    """A file or stream of this process cannot be read or written."""


def print_message(text: str) -> None:
    """Print `farhand: TEXT` on stderr, control characters escaped and continuation lines indented.

    If stderr cannot be written, this and later messages are dropped.
    """
    print_usage("farhand: " + printable_lines(text).replace("\n", "\n  "))


def print_usage(text: str) -> None:
    """Print lines of our own, such as a usage message, on stderr as they are. Fails as little as `print_message`."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        discard_buffer(2)


def flush_messages() -> None:
    """Write what stderr still holds; drop it if that is impossible."""
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        discard_buffer(2)


def require_output(run: RunInfo) -> None:
    """Raise ValueError if the output of a run is not for people."""
    if run.transfer:
        raise ValueError(f"run {run.id} is a transfer of files; its output is for the client that has begun it")


def print_gap(gap: Gap) -> None:
    """Print on stderr which bytes of output are missing; for `on_gap`."""
    print_message(str(gap))


def print_output(text: str, what: str = "") -> None:
    """Print one or more lines on stdout.

    Raises BrokenPipeError if nobody reads stdout, and `LocalError`, which names `what`, if it cannot be written.
    """
    with _stdout_errors(what):
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def print_bytes(data: bytes, fd: int = 1) -> None:
    """Write lines with names of files, which may be any bytes, on stdout or stderr. Raises as `print_output` does."""
    stream = sys.stdout if fd == 1 else sys.stderr
    with _stdout_errors("") if fd == 1 else contextlib.suppress(OSError):
        stream.flush()
        stream.buffer.write(data)
        stream.flush()


def help_columns() -> int:
    """Return the width of help texts: that of the terminal, as argparse has it."""
    from shutil import get_terminal_size

    return max(get_terminal_size().columns - 2, 11)


def flush_output() -> None:
    """Write what stdout still holds, such as a help text of argparse. Raises as `print_output` does."""
    with _stdout_errors(""):
        sys.stdout.flush()


def require_stdout(what: str) -> None:
    """Raise `LocalError` if stdout is known to be closed or not open for writing, before `what` is done for it."""
    if fcntl.fcntl(1, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise LocalError(f"stdout is not open for writing, so {what}; use >/dev/null if it is not wanted")


def can_read_stdin() -> bool:
    """Return whether stdin is open for reading."""
    return fcntl.fcntl(0, fcntl.F_GETFL) & os.O_ACCMODE != os.O_WRONLY


def require_stdin() -> None:
    """Raise `LocalError` if stdin is known to be closed or not open for reading."""
    if not can_read_stdin():
        raise LocalError("stdin is not open for reading, so it cannot be passed on; use </dev/null for an empty one")


def reason(error: OSError) -> str:
    """Return why a standard stream cannot be used. `open_standard_files` makes a closed one fail with EBADF."""
    return "it is closed" if error.errno == errno.EBADF else error.strerror or str(error)


def print_json(values: dict[str, Any]) -> None:
    """Print one JSON object as a line on stdout. Raises as `print_output` does."""
    import json

    print_output(json.dumps(values))


@contextlib.contextmanager
def _stdout_errors(what: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        discard_buffer(1)
        raise LocalError(f"cannot write {f'{what} ' if what else ''}to stdout: {reason(error)}") from None


def discard_buffer(fd: int) -> None:
    """Point stdout (1) or stderr (2) at /dev/null.

    Otherwise Python would try to write its buffer again at exit, fail, and exit with 120.
    """
    try:
        null = os.open(os.devnull, os.O_WRONLY)
    except OSError:  # no descriptor is left for it: drop what is written to the stream, at least
        setattr(sys, "stdout" if fd == 1 else "stderr", io.StringIO())
        return
    os.dup2(null, fd)
    os.close(null)
