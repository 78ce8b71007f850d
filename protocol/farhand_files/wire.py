"""The frames of a transfer. Specified in protocol/README.md, "Files".

A frame is a five-byte header, the payload's length (4 bytes, big-endian) and the kind (1 byte), and the payload: fixed
fields, big-endian, followed by bytes of any length. `encode` returns a frame, `decode` checks one;
`stream` finds them among the bytes.

The client sends `OPTIONS`, the worker answers `READY`; from then on only the roles of sender and receiver matter.
An entry is known by its number, from 0, in the order in which the sender has sent them. Each `ENTRY` of a regular file
gets exactly one of `SKIP`, `FILE_DONE` and `FAILED`; those of other kinds get `FAILED`, or nothing. `WANT` requests the
content of a regular file; the answer is `DATA`, `HOLE` and `COPY` in the order of their offsets, without overlaps, and
then `FILE_END`; or `ABORT` at any time instead, which the receiver answers with `FAILED`. If the receiver fails first,
the sender ends what it has begun to send with `ABORT`, which has no answer then. A file that has changed while it was
being read is sent again: `RESTART`, and its content from the beginning.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, Final, NamedTuple, TypeAlias

CHUNK: Final = 1 << 20
"""Bytes of content in one frame, and of what is verified, sent again or not, as one: it takes a few milliseconds on
usual networks, and its digests are 0.003 % of the content."""

MAX_TRANSFER_PAYLOAD: Final = CHUNK + 64 * 1024
"""The largest payload in bytes: a chunk and its fields, or an entry with the longest path and extended attributes."""

MAX_UNANSWERED: Final = 2048
"""Entries of regular files that a sender may have sent without `SKIP`, `FILE_DONE` or `FAILED`: enough for 20,000 small
files a second over a connection with a round trip of 100 ms. Bounds the memory of both sides."""

MAX_DIGESTS: Final = 16 * 1024
"""Digests in one `WANT`; more follow in further ones."""

MAX_PATH: Final = 4096
"""Bytes of a path (PATH_MAX in Linux). Longer ones can exist, but no program can open them at once."""

MAX_SENTENCE_SIZE: Final = 2048
"""Bytes of a sentence for people, in UTF-8."""

DIGEST: Final = 32
"""Bytes of a BLAKE3 or SHA-256 digest."""

TRANSFER_HEADER: Final = struct.Struct(">IB")

# Kinds of entries
REGULAR: Final = 0
DIRECTORY: Final = 1
SYMLINK: Final = 2
HARDLINK: Final = 3

# What a WANT already has
NOTHING: Final = 0
PARTIAL: Final = 1
BASIS: Final = 2


class TransferFrame(IntEnum):
    """The kinds of frames."""

    OPTIONS = 1
    READY = 2
    ENTRY = 3
    PROBLEM = 4
    LISTED = 5
    WALKED = 6
    SKIP = 7
    WANT = 8
    DATA = 9
    HOLE = 10
    COPY = 11
    FILE_END = 12
    ABORT = 13
    FILE_DONE = 14
    FAILED = 15
    DELETED = 16
    FINISH = 17
    SUMMARY = 18
    RESTART = 19


class WireError(ValueError):
    """The other side has sent what the specification does not allow. The text says what."""


class OptionsFrame(NamedTuple):
    """Client to worker: how the transfer is done. `text` is the JSON of `options.TransferOptions`."""

    text: bytes


class ReadyFrame(NamedTuple):
    """Worker to client: it serves these options. `text` is the JSON of `options.Ready`."""

    text: bytes


class Entry(NamedTuple):
    """Sender to receiver: one file system object.

    `path` is relative, its components joined by `/`; that of a source's own directory whose content was requested is
    empty. `kind` is one of `REGULAR`, `DIRECTORY`, `SYMLINK` and `HARDLINK`. `mode` is st_mode without the type,
    `mtime` is in nanoseconds since the epoch. `size` is in bytes, -1 if it is unknown before the end (a pipe, /proc).
    `target` is where a symbolic link points to; for a hard link, the number of the entry to which it is another name,
    in decimal. `xattrs` are pairs of name and value, encoded by `pack_xattrs`; empty unless requested.
    """

    number: int
    kind: int
    mode: int
    uid: int
    gid: int
    mtime: int
    size: int
    path: bytes
    target: bytes = b""
    xattrs: bytes = b""


class Problem(NamedTuple):
    """Either way: something could not be read (sender) or is not as requested (receiver), and the rest goes on.

    `path` names it for people, as the other side would. `errno` is 0 for a notice: nothing has failed because of it."""

    errno: int
    path: bytes
    sentence: bytes


class Listed(NamedTuple):
    """Sender to receiver: all entries directly in the directory with this number were sent (those below may follow).
    `complete` is 0 if some could not be read or were left out because of a problem."""

    number: int
    complete: int


class Walked(NamedTuple):
    """Sender to receiver: all entries were sent. `complete` is 0 if anything could not be read."""

    entries: int
    size: int
    complete: int


class Skip(NamedTuple):
    """Receiver to sender: this file, and the `files` - 1 that have the next numbers, are up to date, or not wanted."""

    number: int
    files: int = 1


class Want(NamedTuple):
    """Receiver to sender: send this file's content.

    `basis` is `NOTHING`; or `PARTIAL`: the receiver has the beginning of the file, as chunks of `CHUNK` bytes (the last
    one may be shorter) with these digests; or `BASIS`: it has an older file, as chunks with these lengths and digests,
    in their order. `last` is 0 if another `WANT` with more of them follows. `have` is pairs of length (4 bytes) and
    BLAKE3 digest (32 bytes), see `pack_chunks`.
    """

    number: int
    basis: int
    last: int
    have: bytes = b""


class Data(NamedTuple):
    """Sender to receiver: content at an offset, 1 to `CHUNK` bytes."""

    number: int
    offset: int
    data: bytes | memoryview


class Hole(NamedTuple):
    """Sender to receiver: only zeros at an offset."""

    number: int
    offset: int
    length: int


class Copy(NamedTuple):
    """Sender to receiver: what the receiver has at `source` of its partial or older file, at an offset."""

    number: int
    offset: int
    length: int
    source: int


class FileEnd(NamedTuple):
    """Sender to receiver: the file is complete, with this size and these digests of all of its content. `mtime` and
    `mode` are those of the file that was read. `sha256` is empty unless requested."""

    number: int
    size: int
    mtime: int
    mode: int
    blake3: bytes
    sha256: bytes = b""


class Abort(NamedTuple):
    """Sender to receiver: the content of this file cannot be sent completely: keep what has arrived for another
    attempt, and leave the target as it is."""

    number: int
    errno: int
    sentence: bytes


class Restart(NamedTuple):
    """Sender to receiver: this file has changed while it was being read. What has arrived of its content is void, and
    all of it follows again, from offset 0, without `COPY`: what the receiver had may be overwritten by now."""

    number: int


class FileDone(NamedTuple):
    """Receiver to sender: the file is in place, durable, and has this digest."""

    number: int
    blake3: bytes


class Failed(NamedTuple):
    """Receiver to sender: this entry could not be written; its target is as it was. Without errno and sentence, a
    `PROBLEM` has told the reason before."""

    number: int
    errno: int
    sentence: bytes


class Deleted(NamedTuple):
    """Receiver to sender: this path was deleted, or with `dry_run` would have been."""

    path: bytes


class Finish(NamedTuple):
    """Sender to receiver: nothing follows. Sent once every regular file has its answer."""


class Summary(NamedTuple):
    """Receiver to sender: everything is over. `text` is the JSON of `events.Totals`."""

    text: bytes


Frame: TypeAlias = (
    OptionsFrame
    | ReadyFrame
    | Entry
    | Problem
    | Listed
    | Walked
    | Skip
    | Want
    | Data
    | Hole
    | Copy
    | FileEnd
    | Abort
    | FileDone
    | Failed
    | Deleted
    | Finish
    | Summary
    | Restart
)

_MAX_TIME: Final = (1 << 63) - 1
"""Nanoseconds since the epoch: 292 years, before it or after."""

_U32: Final = struct.Struct(">I")
_CHUNK: Final = struct.Struct(">I32s")

CHUNK_SIZE: Final = _CHUNK.size
"""Bytes of a length and a digest in the field `have` of `Want`."""

TRANSFER_LAYOUT: Final[dict[int, tuple[type[Frame], struct.Struct, int]]] = {
    TransferFrame.OPTIONS: (OptionsFrame, struct.Struct(">"), 1),
    TransferFrame.READY: (ReadyFrame, struct.Struct(">"), 1),
    TransferFrame.ENTRY: (Entry, struct.Struct(">IBIIIqq"), 3),
    TransferFrame.PROBLEM: (Problem, struct.Struct(">I"), 2),
    TransferFrame.LISTED: (Listed, struct.Struct(">IB"), 0),
    TransferFrame.WALKED: (Walked, struct.Struct(">QQB"), 0),
    TransferFrame.SKIP: (Skip, struct.Struct(">II"), 0),
    TransferFrame.WANT: (Want, struct.Struct(">IBB"), 1),
    TransferFrame.DATA: (Data, struct.Struct(">IQ"), 1),
    TransferFrame.HOLE: (Hole, struct.Struct(">IQQ"), 0),
    TransferFrame.COPY: (Copy, struct.Struct(">IQQQ"), 0),
    TransferFrame.FILE_END: (FileEnd, struct.Struct(">IQqI"), 2),
    TransferFrame.ABORT: (Abort, struct.Struct(">II"), 1),
    TransferFrame.FILE_DONE: (FileDone, _U32, 1),
    TransferFrame.FAILED: (Failed, struct.Struct(">II"), 1),
    TransferFrame.DELETED: (Deleted, struct.Struct(">"), 1),
    TransferFrame.FINISH: (Finish, struct.Struct(">"), 0),
    TransferFrame.SUMMARY: (Summary, struct.Struct(">"), 1),
    TransferFrame.RESTART: (Restart, _U32, 0),
}
"""For each kind: its class, its fixed fields, and how many fields of bytes follow. All but the last of these begin with
their length, in 4 bytes; the last extends to the end of the payload."""

_RANGES: Final = frozenset(
    {
        TransferFrame.DATA,
        TransferFrame.WANT,
        TransferFrame.FILE_END,
        TransferFrame.FILE_DONE,
        TransferFrame.LISTED,
        TransferFrame.SKIP,
        TransferFrame.WALKED,
    }
)
"""The kinds about which `_problem` has something to say."""

_ENTRY: Final = struct.Struct(">IB" + "IBIIIqq" + "I")
_ENTRY_PAYLOAD: Final = struct.Struct(">IBIIIqq" + "I")
_ENTRY_SIZE: Final = _ENTRY.size - TRANSFER_HEADER.size + _U32.size
_ENTRY_KIND: Final = int(TransferFrame.ENTRY)

_KINDS: Final = {kind: number for number, (kind, _, _) in TRANSFER_LAYOUT.items()}


def nearest_time(mtime: int) -> int:
    """Return the time that a frame can carry and that is nearest: file systems have later ones than the year 2262."""
    return min(max(mtime, -_MAX_TIME), _MAX_TIME)


def encode(frame: Frame) -> bytes:
    """Return a frame as bytes. Raises ValueError if its payload would be larger than `MAX_TRANSFER_PAYLOAD`, and
    struct.error for a number that does not fit its field."""
    if isinstance(frame, Entry):
        return _encode_entry(frame)
    number = _KINDS[type(frame)]
    _, fixed, variable = TRANSFER_LAYOUT[number]
    if not variable:
        payload = fixed.pack(*frame)
    else:
        values: tuple[Any, ...] = frame
        count = len(values) - variable
        parts = [fixed.pack(*values[:count])]
        for value in values[count:-1]:
            parts += (_U32.pack(len(value)), value)
        parts.append(values[-1])
        payload = b"".join(parts)
    if len(payload) > MAX_TRANSFER_PAYLOAD:
        raise ValueError(f"a payload of {len(payload)} bytes; the maximum is {MAX_TRANSFER_PAYLOAD}")
    return TRANSFER_HEADER.pack(len(payload), number) + payload


def _encode_entry(entry: Entry) -> bytes:
    """Return an entry as bytes. `encode` would do the same in twice the time; there may be a million."""
    number, kind, mode, uid, gid, mtime, size, path, target, xattrs = entry
    length = _ENTRY_SIZE + len(path) + len(target) + len(xattrs)
    if length > MAX_TRANSFER_PAYLOAD:
        raise ValueError(f"a payload of {length} bytes; the maximum is {MAX_TRANSFER_PAYLOAD}")
    head = _ENTRY.pack(length, _ENTRY_KIND, number, kind, mode, uid, gid, mtime, size, len(path))
    return b"".join((head, path, _U32.pack(len(target)), target, xattrs))


def encode_data(number: int, offset: int, data: bytes | memoryview) -> tuple[bytes, bytes | memoryview]:
    """Return a `DATA` frame as what precedes the data, and the data themselves, which are not copied."""
    head = TRANSFER_LAYOUT[TransferFrame.DATA][1].pack(number, offset)
    return TRANSFER_HEADER.pack(len(head) + len(data), TransferFrame.DATA) + head, data


def check_header(buffer: bytes | memoryview, offset: int = 0) -> tuple[int, int]:
    """Return the length of the payload and the kind that a header announces. Raises `WireError`."""
    size, kind = TRANSFER_HEADER.unpack_from(buffer, offset)
    if kind not in TRANSFER_LAYOUT:
        raise WireError(f"there is no frame of kind {kind}")
    if size > MAX_TRANSFER_PAYLOAD:
        raise WireError(f"a payload of {size} bytes was announced; the maximum is {MAX_TRANSFER_PAYLOAD}")
    return size, kind


def decode(kind: int, payload: memoryview) -> Frame:
    """Return the frame with this payload; the data of `DATA` are a part of `payload`, not a copy. Raises `WireError`.

    Only the form is checked, and that numbers are in their ranges; `names` judges paths, and sender and receiver judge
    what is due.
    """
    if kind == _ENTRY_KIND:
        return _decode_entry(payload)
    made, fixed, variable = TRANSFER_LAYOUT[kind]
    try:
        values: list[Any] = list(fixed.unpack_from(payload))
    except struct.error:
        raise WireError(f"{made.__name__}: {len(payload)} bytes are too few") from None
    at = fixed.size
    for _ in range(variable - 1):
        if len(payload) - at < _U32.size:
            raise WireError(f"{made.__name__}: it ends in the middle of a field")
        (size,) = _U32.unpack_from(payload, at)
        at += _U32.size
        if size > len(payload) - at:
            raise WireError(f"{made.__name__}: it ends in the middle of a field")
        values.append(bytes(payload[at : at + size]))
        at += size
    if variable:
        values.append(payload[at:] if kind == TransferFrame.DATA else bytes(payload[at:]))
    elif at != len(payload):
        raise WireError(f"{made.__name__}: {len(payload) - at} bytes follow it")
    frame = made(*values)
    if kind in _RANGES:
        problem = _problem(frame)
        if problem is not None:
            raise WireError(problem)
    return frame


def _decode_entry(payload: memoryview) -> Entry:
    """Return an entry. `decode` would do the same in twice the time; there may be a million."""
    total = len(payload)
    try:
        number, kind, mode, uid, gid, mtime, size, length = _ENTRY_PAYLOAD.unpack_from(payload)
    except struct.error:
        raise WireError(f"Entry: {total} bytes are too few") from None
    end = _ENTRY_PAYLOAD.size + length
    at = end + _U32.size
    length = _U32.unpack_from(payload, end)[0] if at <= total else total
    if at + length > total:
        raise WireError("Entry: it ends in the middle of a field")
    path = payload[_ENTRY_PAYLOAD.size : end].tobytes()
    target = payload[at : at + length].tobytes() if length else b""
    at += length
    xattrs = payload[at:].tobytes() if at < total else b""
    if kind > HARDLINK:
        raise WireError(f"Entry: there is no kind {kind}")
    if mode > 0o7777:
        raise WireError(f"Entry: {mode:#o} is no mode")
    if size < -1:
        raise WireError(f"Entry: a size of {size} bytes")
    if kind == HARDLINK and not (target.isdigit() and len(target) <= 10):
        raise WireError("Entry: a hard link to no entry")
    return Entry(number, kind, mode, uid, gid, mtime, size, path, target, xattrs)


def _problem(frame: Frame) -> str | None:
    match frame:
        case Data(data=data):
            return None if 0 < len(data) <= CHUNK else f"Data: {len(data)} bytes; 1 to {CHUNK} are allowed"
        case Skip():
            return None if 0 < frame.files <= MAX_UNANSWERED else f"Skip: {frame.files} files"
        case Want():
            if frame.basis > BASIS or frame.last > 1:
                return "Want: an unknown basis"
            if len(frame.have) % CHUNK_SIZE or len(frame.have) > MAX_DIGESTS * CHUNK_SIZE:
                return f"Want: {len(frame.have)} bytes of digests"
            return None
        case FileEnd():
            if len(frame.blake3) != DIGEST or len(frame.sha256) not in (0, DIGEST):
                return "FileEnd: no digest"
            return None
        case FileDone():
            return None if len(frame.blake3) == DIGEST else "FileDone: no digest"
        case Listed() | Walked():
            return None if frame.complete <= 1 else f"{type(frame).__name__}: neither complete nor incomplete"
        case _:
            return None


def pack_chunks(chunks: list[tuple[int, bytes]]) -> bytes:
    """Return lengths and digests for the field `have` of `Want`."""
    return b"".join(_CHUNK.pack(length, digest) for length, digest in chunks)


def unpack_chunks(have: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the lengths and digests of the field `have` of `Want`."""
    return _CHUNK.iter_unpack(have)


def pack_xattrs(xattrs: list[tuple[bytes, bytes]]) -> bytes:
    """Return the field `xattrs` of `Entry`: for each, the length of the name, the name, the length of the value, and
    the value; lengths in 4 bytes."""
    return b"".join(_U32.pack(len(each)) + each for pair in xattrs for each in pair)


def unpack_xattrs(packed: bytes) -> list[tuple[bytes, bytes]]:
    """Return the extended attributes of an entry. Raises `WireError`."""
    values: list[bytes] = []
    at = 0
    while at < len(packed):
        if len(packed) - at < _U32.size:
            raise WireError("extended attributes end in the middle of a length")
        (size,) = _U32.unpack_from(packed, at)
        at += _U32.size
        if size > len(packed) - at:
            raise WireError("extended attributes end in the middle of a value")
        values.append(packed[at : at + size])
        at += size
    if len(values) % 2:
        raise WireError("an extended attribute without a value")
    if any(b"\0" in name for name in values[::2]):
        raise WireError("an extended attribute whose name contains a NUL character")
    return list(zip(values[::2], values[1::2], strict=True))
