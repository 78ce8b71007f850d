"""Where the helper's files are: private to the user and to this installation of `farhand`."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing typing takes 5 ms
    from typing import Final

DEFAULT_MUX: Final = "auto"
"""Whether the helper is used unless the configuration or FARHAND_MUX says so."""

MAX_HELPER_PATH: Final = 107
"""Longest path of a Unix socket in bytes (unix(7))."""


class HelperPlace:
    """The paths of one helper's files. Each installation has its own, so that versions never meet."""

    __slots__ = ("connections", "directory", "fronts", "lock", "program")

    def __init__(self, directory: bytes, program: bytes) -> None:
        tag = b"%016x" % _fnv(program)
        self.program = program
        """The directory that holds the `farhand` program."""
        self.directory = directory
        self.fronts = b"%b/helper-%b.sock" % (directory, tag)
        """The socket on which commands are handed over whole."""
        self.connections = b"%b/mux-%b.sock" % (directory, tag)
        """The socket on which connections are borrowed."""
        self.lock = b"%b/helper-%b.lock" % (directory, tag)


def mux_allowed(configured: str | None) -> bool:
    """Return whether the helper may be used: FARHAND_MUX says so, or what is `configured`, or the default."""
    return (os.environ.get("FARHAND_MUX") or configured or DEFAULT_MUX) != "off"


def helper_place(program: bytes | None = None) -> HelperPlace | None:
    """Return where the helper is, or would be; None if there is no `runtime_directory` for it.

    `program` is the directory of the `farhand` program, by default that of this process.
    """
    directory = runtime_directory()
    if directory is None:
        return None
    place = HelperPlace(directory, program_directory() if program is None else program)
    return place if len(place.fronts) <= MAX_HELPER_PATH else None


def runtime_directory() -> bytes | None:
    """Return the directory for sockets of this user that outlive a command; None if there is no place for one: no
    XDG_RUNTIME_DIR, or it is another user's, as under sudo(8). The directory need not exist."""
    runtime = os.fsencode(os.environ.get("XDG_RUNTIME_DIR", ""))
    if sys.platform != "linux" or not runtime.startswith(b"/"):
        return None
    directory = os.path.join(runtime, b"farhand")
    try:
        if os.stat(runtime).st_uid != os.geteuid() or not is_private(directory):
            return None
    except FileNotFoundError:
        return directory if os.path.isdir(runtime) else None
    except OSError:
        return None
    return directory


def is_private(directory: bytes) -> bool:
    """Return whether it is a directory of this user that nobody else can enter. Raises OSError."""
    status = os.lstat(directory)
    # S_IFMT and S_IFDIR; the module stat takes longer to import than this function to run.
    return status.st_uid == os.geteuid() and status.st_mode & 0o170077 == 0o040000


def program_directory() -> bytes:
    """Return the real directory of the `farhand` program to which this process belongs."""
    program = sys.argv[0] if sys.argv else ""
    found = _real_directories.get(program)
    if found is None:
        found = _real_directories[program] = _find_directory(program)
    return found


_real_directories: dict[str, bytes] = {}
"""By `sys.argv[0]`, of which a process has one: finding it takes a system call for each part of the path, in each of
the many commands that a child of the helper does."""


def _find_directory(program: str) -> bytes:
    if os.path.basename(program) not in ("farhand", "farhand-full"):
        return os.path.realpath(os.fsencode(os.path.dirname(sys.executable)))
    return os.path.dirname(os.path.realpath(os.fsencode(program)))


def _fnv(data: bytes) -> int:
    """Return the 64-bit hash FNV-1a, which takes a line in C as well."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value
