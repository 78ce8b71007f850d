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
from typing import Any, Final

from .frames import (
    ATTRIBUTES,
    BASIS,
    CHUNK,
    DIGEST,
    DIRECTORY,
    HARDLINK,
    MAX_DIGESTS,
    MAX_PATH,
    MAX_ROWS,
    MAX_SENTENCE_SIZE,
    MAX_TRANSFER_PAYLOAD,
    MAX_UNANSWERED,
    NEW,
    NOTHING,
    PARTIAL,
    REGULAR,
    REPLACED,
    SYMLINK,
    Abort,
    Copy,
    Data,
    Deleted,
    Entry,
    Failed,
    FileDone,
    FileEnd,
    FileTable,
    Finish,
    Frame,
    Hole,
    Listed,
    Made,
    OptionsFrame,
    Problem,
    ReadyFrame,
    Restart,
    Skip,
    Summary,
    TransferFrame,
    Walked,
    Want,
    WireError,
)

__all__ = [
    "ATTRIBUTES",
    "BASIS",
    "CHUNK",
    "CHUNK_SIZE",
    "DIGEST",
    "DIRECTORY",
    "HARDLINK",
    "MAX_DIGESTS",
    "MAX_PATH",
    "MAX_ROWS",
    "MAX_SENTENCE_SIZE",
    "MAX_TRANSFER_PAYLOAD",
    "MAX_UNANSWERED",
    "NEW",
    "NOTHING",
    "PARTIAL",
    "REGULAR",
    "REPLACED",
    "SYMLINK",
    "TRANSFER_HEADER",
    "TRANSFER_LAYOUT",
    "Abort",
    "Copy",
    "Data",
    "Deleted",
    "Entry",
    "Failed",
    "FileDone",
    "FileEnd",
    "FileTable",
    "Finish",
    "Frame",
    "Hole",
    "Listed",
    "Made",
    "OptionsFrame",
    "Problem",
    "ReadyFrame",
    "Restart",
    "Skip",
    "Summary",
    "TransferFrame",
    "Walked",
    "Want",
    "WireError",
    "check_header",
    "decode",
    "encode",
    "encode_data",
    "nearest_time",
    "pack_chunks",
    "pack_xattrs",
    "unpack_chunks",
    "unpack_xattrs",
]

TRANSFER_HEADER: Final = struct.Struct(">IB")

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
    TransferFrame.MADE: (Made, struct.Struct(">BB"), 1),
    TransferFrame.FILE_TABLE: (FileTable, _U32, 5),
}
"""For each kind: its class, its fixed fields, and how many fields of bytes follow. All but the last of these begin with
their length, in 4 bytes; the last extends to the end of the payload."""

_RANGES: Final = frozenset(
    {
        TransferFrame.DATA,
        TransferFrame.WANT,
        TransferFrame.FILE_END,
        TransferFrame.FILE_DONE,
        TransferFrame.FILE_TABLE,
        TransferFrame.LISTED,
        TransferFrame.MADE,
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
        case Made():
            if frame.kind <= HARDLINK and frame.change <= ATTRIBUTES:
                return None
            return f"Made: there is no kind {frame.kind} with the change {frame.change}"
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
        case FileTable():
            return _table_problem(frame)
        case FileDone():
            return None if len(frame.blake3) == DIGEST else "FileDone: no digest"
        case Listed() | Walked():
            return None if frame.complete <= 1 else f"{type(frame).__name__}: neither complete nor incomplete"
        case _:
            return None


def _table_problem(table: FileTable) -> str | None:
    rows = len(table.modes) // 2
    if not 0 < rows <= MAX_ROWS:
        return f"FileTable: {rows} files; 1 to {MAX_ROWS} are allowed"
    if (len(table.modes), len(table.sizes), len(table.mtimes)) != (2 * rows, 8 * rows, 8 * rows):
        return "FileTable: its columns are not equally long"
    if table.names.count(b"\0") != rows - 1:
        return f"FileTable: no {rows} names"
    # The first bytes of big-endian numbers.
    if max(table.modes[::2]) > 0o7777 >> 8:
        return "FileTable: a number that is no mode"
    if max(table.sizes[::8]) > 0x7F:
        return "FileTable: a size beyond 63 bits"
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
