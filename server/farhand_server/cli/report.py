"""What `farhandd` prints: results on stdout, failures as one sentence on stderr, and the exit code for each failure."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Final

from farhand_protocol.sentences import printable_lines, unforeseen_sentence

FAILED: Final = 1
"""The command failed in a way that it has foreseen."""

INTERRUPTED: Final = 130
"""128 + SIGINT, as shells report it."""

NOBODY_READS: Final = 141
"""128 + SIGPIPE: nobody reads our output."""

UNFORESEEN: Final = 255
"""Output that cannot be written, and whatever nothing has foreseen. Never 1, which means denied for `explain`."""


class CommandFailed(Exception):
    """The command failed; the text says what failed, why, and what to do. The exit code is `FAILED`."""


class ResultNotWritten(Exception):
    """The result of the command cannot be written. The exit code is `UNFORESEEN`."""


def print_result(text: str) -> None:
    """Print lines on stdout. Raises `ResultNotWritten`, and BrokenPipeError if nobody reads them."""
    with _stdout_errors():
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def print_error(text: str) -> None:
    """Print `farhandd: TEXT` on stderr, each line of the text like this: a newline in a path forges no line."""
    print_lines("\n".join(f"farhandd: {line}" for line in text.split("\n")))


def print_lines(text: str) -> None:
    """Print lines on stderr, control characters and undecodable bytes escaped; drop them if that is impossible."""
    shown = printable_lines(text)
    try:
        sys.stderr.write(f"{shown}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        _discard(2)


def flush_streams() -> None:
    """Write what stdout and stderr still hold. Raises as `print_result` does."""
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        _discard(2)
    with _stdout_errors():
        sys.stdout.flush()


def report_failure(error: BaseException) -> int:
    """Print one sentence about `error`, which ends this process, and return the exit code."""
    match error:
        case SystemExit():  # argparse has printed what it has to say
            return error.code if isinstance(error.code, int) else UNFORESEEN if error.code else 0
        case KeyboardInterrupt():
            return INTERRUPTED
        case BrokenPipeError(errno=errno.EPIPE):
            _discard(1)
            return NOBODY_READS
    show_traceback(error)
    foreseen = isinstance(error, _foreseen())
    sentence = str(error) if foreseen or isinstance(error, ResultNotWritten) else unforeseen_sentence(error)
    # What the failed calls hold is needed to print anything after a lack of memory.
    error.__traceback__ = error.__context__ = None
    print_error(sentence)
    return FAILED if foreseen else UNFORESEEN


def _foreseen() -> tuple[type[Exception], ...]:
    # If the configuration's module is not loaded, it has raised nothing, and loading it takes a quarter of a second.
    loaded = getattr(sys.modules.get("farhand_server.config"), "ConfigError", CommandFailed)
    return CommandFailed, loaded


def show_traceback(error: BaseException) -> None:
    """Print the traceback of `error` on stderr if FARHAND_DEBUG is set."""
    if os.environ.get("FARHAND_DEBUG"):
        import traceback

        for line in "".join(traceback.format_exception(error)).splitlines():
            print_error(line)


@contextlib.contextmanager
def _stdout_errors() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        _discard(1)
        why = "it is closed" if error.errno == errno.EBADF else error.strerror
        raise ResultNotWritten(f"cannot write to stdout: {why}") from None


def _discard(fd: int) -> None:
    # Otherwise Python would try to write its buffer again at exit, fail, and exit with 120.
    try:
        null = os.open(os.devnull, os.O_WRONLY)
    except OSError:  # no descriptor is left for it: drop what is written to the stream, at least
        setattr(sys, "stdout" if fd == 1 else "stderr", io.StringIO())
        return
    os.dup2(null, fd)
    os.close(null)
