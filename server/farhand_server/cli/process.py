"""Prepares a process of `farhandd` before anything else happens: its standard files, and how errors are shown."""

from __future__ import annotations

import codecs
import io
import logging
import os
import sys
import threading
import warnings
from typing import TYPE_CHECKING

from farhand_protocol.sentences import ESCAPING, escape_unencodable, unforeseen_sentence

from .report import print_error, show_traceback

if TYPE_CHECKING:
    from sys import UnraisableHookArgs


def prepare_process() -> None:
    """Make this process independent of how it was started. Raises OSError if there is no /dev/null."""
    open_standard_files()
    escape_what_cannot_be_shown()
    if not os.environ.get("FARHAND_DEBUG"):
        # Remarks for developers: objects that were not closed when something else had failed.
        warnings.simplefilter("ignore")
        logging.lastResort = logging.NullHandler()
    sys.unraisablehook = _deletion_failed
    threading.excepthook = _thread_failed


def open_standard_files() -> None:
    """Open stdin, stdout and stderr if this process was started without them.

    Otherwise the next file opened, perhaps a connection, would become stdout or stderr, and receive the log. What is
    opened for stdin cannot be read, and for stdout cannot be written, so that a command whose result would be lost
    fails. stderr is /dev/null: nobody could be told.
    """
    for fd, name, mode, access in (
        (0, "stdin", "r", os.O_WRONLY),
        (1, "stdout", "w", os.O_RDONLY),
        (2, "stderr", "w", os.O_WRONLY),
    ):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, access)
            setattr(sys, name, open(fd, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  # never closed


def escape_what_cannot_be_shown() -> None:
    """Let stdout and stderr escape what their encoding lacks: text for people never fails for its characters."""
    codecs.register_error(ESCAPING, escape_unencodable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPING)


def _thread_failed(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is not None and not isinstance(failed.exc_value, SystemExit):
        show_traceback(failed.exc_value)
        name = "a thread" if failed.thread is None else f"the thread {failed.thread.name}"
        print_error(f"{name} failed: {unforeseen_sentence(failed.exc_value)}")


def _deletion_failed(unraisable: UnraisableHookArgs) -> None:
    # An error while an object is deleted: another error has been or will be reported, and nothing depends on this one.
    if unraisable.exc_value is not None:
        show_traceback(unraisable.exc_value)
