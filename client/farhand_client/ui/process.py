"""Prepares this process before anything else happens: its standard files, its signals, and how errors are shown."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed lacks it; what is used has the types of signal's
import codecs
import io
import os
import sys
import warnings

from farhand_protocol.sentences import ESCAPING, escape_unencodable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sys import UnraisableHookArgs
    from typing import Final


MIN_ADDRESS_SPACE: Final = 128 << 20
"""Bytes of address space without which no command begins. A run over TLS needs 100 MB; with less, libraries written in
Rust abort the process when an allocation fails, which nothing can catch. Without TLS 60 MB are enough, but a command
that works only sometimes is no help."""


_KEPT_SIGNALS: Final = frozenset(
    {_signal.SIGKILL, _signal.SIGSTOP, _signal.SIGHUP, _signal.SIGINT, _signal.SIGPIPE, _signal.SIGXFSZ}
)


def prepare_process() -> None:
    """Make this process independent of how it was started. Raises OSError if there is no /dev/null."""
    open_standard_files()
    escape_what_cannot_be_shown()
    reset_signals()
    if not os.environ.get("FARHAND_DEBUG"):
        warnings.simplefilter("ignore")  # are for developers: what was not closed when something else had failed
    sys.unraisablehook = _ignore_unless_debugging


def require_memory() -> None:
    """Raise MemoryError if the limit on this process's memory (ulimit -v) is below `MIN_ADDRESS_SPACE`."""
    import resource  # only here: it is a library of its own

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < MIN_ADDRESS_SPACE:
        raise MemoryError


def open_standard_files() -> None:
    """Open stdin, stdout and stderr if this process was started without them.

    Otherwise the next file opened, perhaps the connection, would become stdout; and Python has no stream for a
    descriptor that was closed at its start. What is opened for stdin cannot be read, and for stdout cannot be written,
    so that whoever needs them gets an error as other programs do, and nothing is lost without a word. stderr is
    /dev/null: nobody could be told.
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


def reset_signals() -> None:
    """Let signals act as after a login, whatever was inherited.

    Ignored and blocked signals are inherited (signal(7)). As with ssh(1), SIGHUP and SIGINT stay ignored if they were
    ignored before: nohup(1) and a script's `&` rely on that. SIGTERM always ends this process.
    """
    # Not by the module signal, which looks up a member of an enum for each number and each handler: 0.3 ms.
    for number in _signal.valid_signals() - _KEPT_SIGNALS:
        if _signal.getsignal(number) is _signal.SIG_IGN:
            _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def _ignore_unless_debugging(unraisable: UnraisableHookArgs) -> None:
    # An error while an object is deleted: another error has been or will be reported, and nothing depends on this one.
    from .failures import debugging

    if debugging():
        sys.__unraisablehook__(unraisable)
