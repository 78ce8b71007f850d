"""Checks before the start whether a user can execute a program.

If a program that is started through a prefix (`launch`) cannot be executed, only the prefix's exit code shows it, and
that could also be the program's own. So the service checks first, as that user and by the rules of execve(2). As far as
it can be known from outside, the result is that of execve(2).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from farhand_server.credentials import Credentials, acting_as

HEADER_SIZE: Final = 256
"""Bytes at the start of a file from which the kernel recognizes its format (BINPRM_BUF_SIZE, linux/binfmts.h)."""

MAX_INTERPRETERS: Final = 5
"""Number of nested interpreters that are themselves scripts, after which the kernel gives up with ELOOP (execve(2))."""

_BINFMT_MISC: Final = Path("/proc/sys/fs/binfmt_misc")


@contextmanager
def checked(
    program: bytes, *, env: Mapping[bytes, bytes], cwd: bytes, credentials: Credentials | None
) -> Iterator[bytes]:
    """Raise the OSError that starting `program` in the directory `cwd` would raise, with one of the two as its
    `filename`.

    Yield the name of the directory in which to start, a name that refers to the directory opened as that user. The
    process that enters the directory is still root; by its path, it would find whatever the user has put there since,
    even below directories that are closed to the user.

    A name without a slash is searched for in the PATH of `env`, as `subprocess` does. Not detected are an ELF file for
    another machine or without its loader, and errors that only the start itself shows (E2BIG, EAGAIN, ENOMEM). As that
    user, files are only opened with O_PATH, so nothing waits for a FIFO; but a hanging file system blocks the service.
    """
    directory = -1
    try:
        with acting_as(credentials):
            directory = os.open(cwd, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            if not os.access(b".", os.X_OK, dir_fd=directory, effective_ids=True):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        if directory >= 0:
            os.close(directory)
        raise OSError(error.errno, error.strerror, cwd) from None
    place = b"/proc/self/fd/%d" % directory
    try:
        number = _search(program, env, directory, credentials)
        if number:
            raise OSError(number, os.strerror(number), program)
        yield place
    except OSError as error:
        if error.filename != place:
            raise
        raise OSError(error.errno, error.strerror, cwd) from None
    finally:
        os.close(directory)


def _search(program: bytes, env: Mapping[bytes, bytes], directory: int, credentials: Credentials | None) -> int:
    """Return the errno of the start, or 0 if it would succeed: the first error more specific than "not found", as in
    Python."""
    found = last = 0
    for path in _candidates(program, env):
        last = _execute(path, directory, credentials)
        if not last:
            return 0
        if last not in (errno.ENOENT, errno.ENOTDIR):
            found = found or last
    return found or last


def _candidates(program: bytes, env: Mapping[bytes, bytes]) -> list[bytes]:
    if b"/" in program:
        return [program]
    # Search as subprocess does, so that the same program is found. The default PATH is that of execvp(3).
    places = env.get(b"PATH", os.fsencode(os.defpath)).split(b":")
    return [os.path.join(place, program) for place in places]  # noqa: PTH118  # bytes


def _execute(path: bytes, directory: int, credentials: Credentials | None) -> int:
    for _ in range(MAX_INTERPRETERS + 1):
        try:
            header = _header(path, directory, credentials)
        except OSError as error:
            return error.errno or errno.EIO
        if header is None or header.startswith(b"\x7fELF"):
            return 0
        if not header.startswith(b"#!"):
            return 0 if _other_formats() else errno.ENOEXEC
        interpreter = _interpreter(header)
        if interpreter is None:
            return errno.ENOEXEC
        path = interpreter
    return errno.ELOOP


def _header(path: bytes, directory: int, credentials: Credentials | None) -> bytes | None:
    """Return the first bytes of the file, None if only the kernel may read it. Raises OSError if it is not
    executable."""
    with acting_as(credentials):
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC, dir_fd=directory)
        try:
            executable = os.access(path, os.X_OK, dir_fd=directory, effective_ids=True)
        except BaseException:
            os.close(descriptor)
            raise
    try:
        if not executable or not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        try:
            # Read as the service: a program need not be readable for the user who runs it.
            reading = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
    finally:
        os.close(descriptor)
    with open(reading, "rb", buffering=0) as file:  # noqa: PTH123  # a descriptor, not a path
        return file.read(HEADER_SIZE)


def _interpreter(header: bytes) -> bytes | None:
    """Return the program named after `#!`, as load_script() in linux/fs/binfmt_script.c finds it; None if that refuses
    it."""
    line, newline, _ = header[2:].partition(b"\n")
    words = line.lstrip(b" \t").replace(b"\0", b" ").replace(b"\t", b" ").split(b" ", 1)
    if not words[0] or (not newline and len(words) == 1 and len(header) == HEADER_SIZE):
        return None
    return words[0]


def _other_formats() -> bool:
    """Return whether binfmt_misc(5) has further formats, which cannot be checked here."""
    try:
        return any(entry.name not in ("register", "status") for entry in os.scandir(_BINFMT_MISC))
    except OSError:
        return False
