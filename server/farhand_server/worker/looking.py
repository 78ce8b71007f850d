"""What a worker does: looks at files with the rights of its process. Each function may hang, and answers one question.

Whether a program can be executed is judged by the rules of execve(2): as far as it can be known from outside, the
result is that of execve(2). This is needed because a program is started through others (`runs.process.launch`): if it
cannot be executed, only their exit code shows it, and that could also be the program's own.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from .keyfile import answer_key_file
from .messages import LookedUp, LookUp, OpenStart, ReadKeyFile, StartOpened, WorkerAnswer, WorkerQuestion

HEADER_SIZE: Final = 256
"""Bytes at the start of a file from which the kernel recognizes its format (BINPRM_BUF_SIZE, linux/binfmts.h)."""

MAX_INTERPRETERS: Final = 5
"""Number of nested interpreters that are themselves scripts, after which the kernel gives up with ELOOP (execve(2))."""

_BINFMT_MISC: Final = Path("/proc/sys/fs/binfmt_misc")
_EXECUTABLE: Final = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


def answer(question: WorkerQuestion) -> tuple[WorkerAnswer, int | None]:
    """Return the answer, and the descriptor to attach, which the caller must close. Raises OSError."""
    match question:
        case LookUp():
            return look_up(question), None
        case OpenStart():
            return open_start(question)
        case ReadKeyFile():
            return answer_key_file(question)


# For the policy


def look_up(question: LookUp) -> LookedUp:
    """Find a program as execvp(3) does, and resolve directories by realpath(3), even if they do not exist."""
    cwd = starting_directory(question.cwd, question.home)
    program = _found(question.program, question.search, cwd) if question.program else None
    directories = tuple(_real(os.path.join(cwd, each)) for each in (cwd, *question.directories))  # noqa: PTH118  # bytes
    return LookedUp(program or b"", directories)


def starting_directory(cwd: bytes, home: bytes) -> bytes:
    """Return `cwd`, with `/` in place of `home` if that cannot be entered."""
    if not home or (cwd != home and not cwd.startswith(home.rstrip(b"/") + b"/")):
        return cwd
    if os.path.isdir(home) and os.access(home, os.X_OK, effective_ids=True):  # noqa: PTH112  # bytes, and no EACCES
        return cwd
    return b"/" + cwd[len(home) :].lstrip(b"/")


def _found(name: bytes, search: bytes, cwd: bytes) -> bytes | None:
    """Return the path of a program: absolute, with its directory resolved, and with the last name as it was found."""
    for directory in [b""] if b"/" in name else search.split(b":"):
        candidate = os.path.join(cwd, directory, name)  # noqa: PTH118  # bytes, which Path does not accept
        if _is_program(candidate):
            above, _, last = candidate.rpartition(b"/")
            return os.path.realpath(above or b"/").rstrip(b"/") + b"/" + last
    return None


def _is_program(path: bytes) -> bool:
    try:
        status = os.stat(path)  # noqa: PTH116  # bytes, which Path does not accept
    except (OSError, ValueError):
        return False
    # Whether the user may execute it is for the kernel to decide when the file is executed as that user.
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & _EXECUTABLE)


def _real(path: bytes) -> bytes:
    try:
        return os.path.realpath(path)
    except ValueError:  # a NUL
        return path


# For the start


def open_start(question: OpenStart) -> tuple[StartOpened, int | None]:
    """Open the working directory with O_PATH, and judge the program in it."""
    cwd = starting_directory(question.cwd, question.home)
    directory = -1
    try:
        directory = os.open(cwd, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if not os.access(b".", os.X_OK, dir_fd=directory, effective_ids=True):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        name = os.readlink(b"/proc/self/fd/%d" % directory)  # noqa: PTH115  # bytes
    except (OSError, ValueError) as error:
        if directory >= 0:
            os.close(directory)
        return StartOpened(_number(error), 1, cwd, b""), None
    return StartOpened(_search(question.program, question.search, directory), 0, cwd, name), directory


def _search(program: bytes, search: bytes, directory: int) -> int:
    """Return the errno of the start, or 0 if it would succeed: the first error more specific than "not found", as in
    Python."""
    found = last = 0
    # Search as subprocess does, so that the same program is found.
    places = [b""] if b"/" in program else search.split(b":")
    for place in places:
        last = _execute(os.path.join(place, program), directory)  # noqa: PTH118  # bytes
        if not last:
            return 0
        if last not in (errno.ENOENT, errno.ENOTDIR):
            found = found or last
    return found or last


def _execute(path: bytes, directory: int) -> int:
    for _ in range(MAX_INTERPRETERS + 1):
        try:
            header = _header(path, directory)
        except (OSError, ValueError) as error:
            return _number(error)
        if header is None or header.startswith(b"\x7fELF"):
            return 0
        if not header.startswith(b"#!"):
            return 0 if _other_formats() else errno.ENOEXEC
        interpreter = interpreter_of(header)
        if interpreter is None:
            return errno.ENOEXEC
        path = interpreter
    return errno.ELOOP


def _header(path: bytes, directory: int) -> bytes | None:
    """Return the first bytes of the file, None if only the kernel may read it now. Raises OSError if it is not
    executable."""
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC, dir_fd=directory)
    try:
        executable = os.access(path, os.X_OK, dir_fd=directory, effective_ids=True)
        if not executable or not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        try:
            # A program need not be readable for the user who runs it. Without O_NONBLOCK, this would wait for a lease
            # to be given up, as the start itself will (fcntl(2)).
            reading = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
    finally:
        os.close(descriptor)
    with open(reading, "rb", buffering=0) as file:  # noqa: PTH123  # a descriptor, not a path
        return file.read(HEADER_SIZE)


def interpreter_of(header: bytes) -> bytes | None:
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


def _number(error: OSError | ValueError) -> int:
    # ValueError: a NUL, which the protocol does not allow in a path.
    return (error.errno or errno.EIO) if isinstance(error, OSError) else errno.EINVAL
