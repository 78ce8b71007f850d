"""Hands a program's arguments and environment over in a file in memory, if they are many.

Until a program is executed, vfork(2) stops the service, and execve(2) copies each argument and variable: 230,000 empty
ones take 150 ms. So the service executes a small command, which reads them from a file that it inherits and executes
the program with them. It needs a Python, 10 ms more, and delays nobody else.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

MAX_STRINGS: Final = 4096
"""Arguments and variables that the service hands to execve(2) itself: three milliseconds. Builds of large programs have
a thousand."""

MAX_BYTES: Final = 256 << 10
"""Their bytes: a millisecond."""

MAX_ARGUMENT: Final = 128 << 10
"""Bytes of one argument or variable that execve(2) accepts, with the NUL at its end: 32 pages of 4 KiB."""

EXEC_SPACE: Final = 6 << 20
"""Bytes that execve(2) accepts in all, with a pointer for each: three quarters of 8 MiB, whatever the limit on the
stack is, and no more than a quarter of that."""

EXEC_RESERVE: Final = 4096
"""Bytes of that which are left free, for what else the kernel and a script's interpreter need."""

PACKED_AT_ONCE: Final = 1024
"""Strings that are made one text at once. For each, that takes 80 bytes more."""

EXECUTE_PACKED: Final = b"""\
import _signal, os, sys
file, memory = int(sys.argv[1]), sys.argv[2]
count, program, *strings = os.pread(file, os.fstat(file).st_size, 0).split(b"\\0")
os.close(file)
argv = strings[:int(count)]
environment = dict(each.split(b"=", 1) for each in strings[int(count):-1])
for number in _signal.SIGPIPE, _signal.SIGXFSZ:
    _signal.signal(number, _signal.SIG_DFL)
if memory:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
try:
    os.execvpe(program, argv, environment)
except OSError as error:
    os.write(2, b"farhandd: %s: %s\\n" % (program, os.fsencode(error.strerror)))
    os._exit(127 if isinstance(error, FileNotFoundError) else 126)
"""
"""Executes the program of the file whose descriptor is the first argument; the second is a limit on memory, or
empty."""


def is_large(argv: Sequence[bytes], env: Mapping[bytes, bytes]) -> bool:
    """Return whether handing these to execve(2) would hold up the service, and execve(2) would accept them.

    What it would not accept is refused at once, and the refusal is an error of the start.
    """
    count, size = len(argv) + len(env), _size(argv, env)
    if count <= MAX_STRINGS and size <= MAX_BYTES:
        return False
    soft, _ = resource.getrlimit(resource.RLIMIT_STACK)
    space = EXEC_SPACE if soft == resource.RLIM_INFINITY else min(EXEC_SPACE, soft // 4)
    if size + len(argv[0]) + 1 + 8 * count + EXEC_RESERVE > space:
        return False
    # To look at each of 200,000 takes 5 ms, and there is no need if all of them together are no longer than one may be.
    return size - count < MAX_ARGUMENT or _longest(argv, env) <= MAX_ARGUMENT


def _longest(argv: Sequence[bytes], env: Mapping[bytes, bytes]) -> int:
    """Return the bytes of the longest argument or variable, with its NUL."""
    return max(max(map(len, argv)) + 1, max((len(name) + len(value) + 2 for name, value in env.items()), default=0))


def _size(argv: Sequence[bytes], env: Mapping[bytes, bytes]) -> int:
    """Return the bytes of all arguments and variables, with their NULs."""
    return sum(map(len, argv)) + len(argv) + sum(map(len, env)) + sum(map(len, env.values())) + 2 * len(env)


@contextmanager
def packed(argv: Sequence[bytes], env: Mapping[bytes, bytes], argv0: bytes | None) -> Iterator[int]:
    """Yield the descriptor of a file for `EXECUTE_PACKED`, which child processes inherit only if told to. Raises
    OSError."""
    strings = [b"%d" % len(argv), argv[0], argv[0] if argv0 is None else argv0, *argv[1:]]
    strings += [b"%s=%s" % variable for variable in env.items()]
    file = os.memfd_create("farhand-arguments", os.MFD_CLOEXEC)
    try:
        for first in range(0, len(strings), PACKED_AT_ONCE):
            content = memoryview(b"\0".join((*strings[first : first + PACKED_AT_ONCE], b"")))
            while content:
                content = content[os.write(file, content) :]
        yield file
    finally:
        os.close(file)
