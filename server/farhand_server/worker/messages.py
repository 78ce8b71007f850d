"""Questions to a worker, orders to the spawner, and answers: their types, and their form on a socket.

Each message is one packet of a SOCK_SEQPACKET socket, at most `MAX_PACKET` bytes long: its kind, the number of the
question, and its fields in their order. An answer may carry one descriptor.
"""

from __future__ import annotations

import array
import socket
import struct
from dataclasses import dataclass, fields
from typing import Final, TypeAlias

MAX_PACKET: Final = 192 << 10
"""Maximum size of a message in bytes. A PATH has at most 128 KiB (MAX_ARG_STRLEN, execve(2)), the rest at most some
paths of 4 KiB; and the kernel's default limit for a packet is 208 KiB (net.core.wmem_default, socket(7))."""

MAX_ERRNO: Final = 4095
"""Maximum error number (linux/err.h). An answer with another one is no answer: no program could do anything with it."""

_HEAD: Final = struct.Struct("!BQ")
_NUMBER: Final = struct.Struct("!q")
_LENGTH: Final = struct.Struct("!I")


class MessageError(ValueError):
    """A packet is not a message."""


@dataclass(frozen=True, slots=True)
class LookUp:
    """Asks what the policy needs to know: which program execvp(3) would find, and what directories are called without
    symbolic links.

    An empty `program` is not searched for. Relative paths are relative to `cwd`. If `home` is not empty and cannot be
    entered, it is replaced by `/` in `cwd`. After `deadline`, in nanoseconds on the monotonic clock, nobody waits for
    the answer any more.
    """

    program: bytes
    search: bytes
    cwd: bytes
    home: bytes
    directories: tuple[bytes, ...]
    deadline: int = 0


@dataclass(frozen=True, slots=True)
class OpenStart:
    """Asks for the working directory `cwd` of a program, opened, and whether `program` can be executed there.

    A name without a slash is searched for in the PATH `search`. For `home` and `deadline` see `LookUp`.
    """

    program: bytes
    search: bytes
    cwd: bytes
    home: bytes
    deadline: int = 0


@dataclass(frozen=True, slots=True)
class ReadKeyFile:
    """Asks for the contents of a file that grants access to the account `uid`; see `keyfile`.

    They are not needed if it still has the identity `known`. `own` tells whether the worker has the service's rights.
    """

    path: bytes
    home: bytes
    uid: int
    max_size: int
    known: tuple[int, ...]
    own: int
    deadline: int = 0


@dataclass(frozen=True, slots=True)
class LookedUp:
    """Answers `LookUp`. `program` is empty if none was found; the first of `directories` is that of `cwd`."""

    program: bytes
    directories: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class StartOpened:
    """Answers `OpenStart`: `errno` is 0 if program and directory can be used, and otherwise what the start would raise.

    `at_directory` tells whether it is about the directory. If not, the directory is attached, opened with O_PATH;
    `directory` is its path without symbolic links, and `cwd` the one that was opened.
    """

    errno: int
    at_directory: int
    cwd: bytes
    directory: bytes


@dataclass(frozen=True, slots=True)
class KeyFileRead:
    """Answers `ReadKeyFile`. `problem` is empty, or a sentence that says why the file must not be used; `fault` is the
    kernel's reason if the service cannot read it now.

    If `found`, the contents are attached, as a sealed memory file, unless `identity` was known. `by_user` tells whether
    the user could have written the file.
    """

    found: int
    problem: bytes
    fault: bytes
    by_user: int
    identity: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NotAnswered:
    """Answers a question that the worker could not deal with; `errno` says why."""

    errno: int


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Orders the spawner to fork a worker that uses the attached socket.

    It becomes the user with these ids, unless `uid` is negative: then it keeps the service's own.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class KillWorker:
    """Orders the spawner to kill the worker that was ordered by the message with the same number."""


WorkerQuestion: TypeAlias = LookUp | OpenStart | ReadKeyFile
WorkerAnswer: TypeAlias = LookedUp | StartOpened | KeyFileRead | NotAnswered
WorkerMessage: TypeAlias = WorkerQuestion | WorkerAnswer | StartWorker | KillWorker

ANSWER_TO: Final[dict[type[WorkerQuestion], type[WorkerAnswer]]] = {
    LookUp: LookedUp,
    OpenStart: StartOpened,
    ReadKeyFile: KeyFileRead,
}
"""What answers which question; `NotAnswered` answers any."""

_KINDS: Final[tuple[type[WorkerMessage], ...]] = (
    LookUp,
    OpenStart,
    ReadKeyFile,
    LookedUp,
    StartOpened,
    KeyFileRead,
    NotAnswered,
    StartWorker,
    KillWorker,
)
_FIELDS: Final = {kind: tuple((field.name, str(field.type)) for field in fields(kind)) for kind in _KINDS}


def encode(number: int, message: WorkerMessage) -> bytes:
    """Return the packet for a message. Raises ValueError if it would be longer than `MAX_PACKET`."""
    kind = type(message)
    parts = [_HEAD.pack(_KINDS.index(kind), number)]
    for name, what in _FIELDS[kind]:
        value = getattr(message, name)
        if what == "int":
            parts.append(_NUMBER.pack(value))
        elif what == "bytes":
            parts += (_LENGTH.pack(len(value)), value)
        elif what == "tuple[int, ...]":
            parts.append(_LENGTH.pack(len(value)))
            parts += (_NUMBER.pack(each) for each in value)
        else:
            parts.append(_LENGTH.pack(len(value)))
            for each in value:
                parts += (_LENGTH.pack(len(each)), each)
    packet = b"".join(parts)
    if len(packet) > MAX_PACKET:
        raise ValueError(f"a message of {len(packet)} bytes; the maximum is {MAX_PACKET}")
    return packet


def decode(packet: bytes) -> tuple[int, WorkerMessage]:
    """Return the number and the message of a packet. Raises `MessageError` for anything that `encode` does not
    return."""
    reader = _Reader(packet)
    try:
        kind, number = _HEAD.unpack(reader.take(_HEAD.size))
        if kind >= len(_KINDS):
            raise MessageError(f"there is no message of kind {kind}")
        values = [reader.value(what) for _, what in _FIELDS[_KINDS[kind]]]
    except struct.error:
        raise MessageError("the packet is cut off") from None
    if reader.at != len(packet):
        raise MessageError(f"{len(packet) - reader.at} bytes follow the message")
    message = _KINDS[kind](*values)
    if isinstance(message, StartOpened | NotAnswered) and not 0 <= message.errno <= MAX_ERRNO:
        raise MessageError(f"there is no error number {message.errno}")
    return number, message


def receive(channel: socket.socket) -> tuple[bytes, list[int], bool]:
    """Return a packet, empty at the end, its descriptors, and whether some of them could not be received.

    The descriptors are not inheritable. (`socket.recv_fds` of Python 3.11 does not pass its flags on.)
    """
    numbers = array.array("i")
    size = socket.CMSG_LEN(numbers.itemsize)
    packet, ancillary, flags, _ = channel.recvmsg(MAX_PACKET, size, socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
    return packet, list(numbers), bool(flags & socket.MSG_CTRUNC)


class _Reader:
    """Takes values from a packet, one after the other. Its methods raise struct.error at the packet's end."""

    def __init__(self, packet: bytes) -> None:
        self._packet = packet
        self.at = 0

    def take(self, size: int) -> bytes:
        if size > len(self._packet) - self.at:
            raise struct.error
        self.at += size
        return self._packet[self.at - size : self.at]

    def value(self, what: str) -> int | bytes | tuple[int, ...] | tuple[bytes, ...]:
        if what == "int":
            return self._number()
        if what == "bytes":
            return self._bytes()
        count = self._length()
        # Each element takes at least four bytes, so that a false count costs nothing.
        if count > (len(self._packet) - self.at) // _LENGTH.size:
            raise struct.error
        if what == "tuple[int, ...]":
            return tuple(self._number() for _ in range(count))
        return tuple(self._bytes() for _ in range(count))

    def _number(self) -> int:
        return int(_NUMBER.unpack(self.take(_NUMBER.size))[0])

    def _length(self) -> int:
        return int(_LENGTH.unpack(self.take(_LENGTH.size))[0])

    def _bytes(self) -> bytes:
        return self.take(self._length())
