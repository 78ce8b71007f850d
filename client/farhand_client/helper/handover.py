"""What a front hands over to a child of the helper, and what the child answers.

The front connects to `HelperPlace.fronts`. A child accepts, and answers READY with a pidfd of itself. The front sends
one message with descriptors:

    length of what follows the header (32 bits), VERSION (16), standard files (16: bit N for file N),
    number of arguments (32); the arguments and the environment's variables, each ended by NUL
    descriptors: the standard files that are open, the working directory, the token

Numbers are in the machine's own order. The token is an eventfd that holds 1 and can be emptied once: whoever empties it
runs the command. The child answers

    BEGUN                it has emptied the token
    REFUSED              the front has to do it itself; also after BEGUN, if nothing was sent or read yet
    OWN_STOPS, NO_STOPS  SIGTSTP is for the child from now on, as it has to restore the terminal first; or no longer
    STOP_JOB and a byte      stop this job by that signal, as the terminal would: it does not know the child
    EXITED and a byte    the exit code
    DIED and a byte      the signal of which to die

and the end of the connection without EXITED or DIED means that the child has died. The front says nothing on it:
whatever arrives there kills the child. But the token, which is empty since the child has begun, then holds CONTINUED
once the front was continued, and NOT_STOPPED if it was not stopped as the child has asked, since nobody could continue
it. `front.c` and `front.py` know this layout by themselves: they are one file each.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

VERSION: Final = 2
HEADER: Final = struct.Struct("=IHHI")

MAX_MESSAGE: Final = 65536
"""Bytes of a message: arguments and environment of nearly every command, and a third of what a socket takes at once
(net.core.wmem_default), so that a front never blocks while it sends."""

READY: Final = b"A"
BEGUN: Final = b"B"
REFUSED: Final = b"R"
OWN_STOPS: Final = b"T"
NO_STOPS: Final = b"t"
STOP_JOB: Final = b"S"
EXITED: Final = b"E"
DIED: Final = b"D"

CONTINUED: Final = 1
NOT_STOPPED: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Command:
    """What a front's message says. `open` are the standard files that are open there."""

    arguments: list[bytes]
    environment: Mapping[bytes, bytes]
    open: list[int]


def parse_header(header: bytes) -> tuple[int, list[int], int] | None:
    """Return the number of bytes that follow, the open standard files and the number of arguments; None if this is no
    header of our version."""
    length, version, standard, arguments = HEADER.unpack(header)
    if version != VERSION or length > MAX_MESSAGE - HEADER.size or standard >> 3:
        return None
    return length, [fd for fd in range(3) if standard >> fd & 1], arguments


def parse_strings(data: bytes, arguments: int, standard: list[int]) -> Command | None:
    """Return what the strings after the header say; None if they are not what the header promises."""
    *words, variables = data.split(b"\0", arguments)
    if len(words) != arguments or (variables and not variables.endswith(b"\0")):
        return None
    return Command(words, _environment_of(variables), standard)


@functools.lru_cache(maxsize=1)
def _environment_of(variables: bytes) -> Mapping[bytes, bytes]:
    """Return the same object as before for the same variables: the next command is often from the same shell."""
    return parse_environment(variables.split(b"\0"))


def parse_environment(variables: Iterable[bytes]) -> dict[bytes, bytes]:
    """Return the values of `NAME=VALUE` by name, the first of each, as getenv(3) does."""
    environment: dict[bytes, bytes] = {}
    for variable in variables:
        name, equals, value = variable.partition(b"=")
        if name and equals:
            environment.setdefault(name, value)
    return environment
