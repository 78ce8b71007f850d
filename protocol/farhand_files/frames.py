"""The frames of a transfer: what each of them says. `wire` encodes and checks them."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

CHUNK: Final = 1 << 20
"""Bytes of content in one frame, and of what is verified, sent again or not, as one: it takes a few milliseconds on
usual networks, and its digests are 0.003 % of the content."""

MAX_TRANSFER_PAYLOAD: Final = CHUNK + 64 * 1024
"""The largest payload in bytes: a chunk and its fields, or an entry with the longest path and extended attributes."""

MAX_UNANSWERED: Final = 2048
"""Entries of regular files that a sender may have sent without `SKIP`, `FILE_DONE` or `FAILED`: enough for 20,000 small
files a second over a connection with a round trip of 100 ms. Bounds the memory of both sides."""

MAX_ROWS: Final = 512
"""Files in one `FILE_TABLE`: a quarter of `MAX_UNANSWERED`, so that the sender goes on while these are judged."""

MAX_DIGESTS: Final = 16 * 1024
"""Digests in one `WANT`; more follow in further ones."""

MAX_PATH: Final = 4096
"""Bytes of a path (PATH_MAX in Linux). Longer ones can exist, but no program can open them at once."""

MAX_SENTENCE_SIZE: Final = 2048
"""Bytes of a sentence for people, in UTF-8."""

DIGEST: Final = 32
"""Bytes of a BLAKE3 or SHA-256 digest."""


# Kinds of entries
REGULAR: Final = 0
DIRECTORY: Final = 1
SYMLINK: Final = 2
HARDLINK: Final = 3

# What a MADE tells
NEW: Final = 0
REPLACED: Final = 1
ATTRIBUTES: Final = 2

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
    MADE = 20
    FILE_TABLE = 21


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


class FileTable(NamedTuple):
    """Sender to receiver: up to `MAX_ROWS` regular files of one directory, which have the next numbers from `number`
    on. It says the same as an `ENTRY` of each would, in columns: `modes` (u16), `sizes` (u64) and `mtimes` (i64) in
    the order of `names`, which are joined by NUL. `directory` is the path before the names, empty at the top.

    Only files of a known size, with one name and without extended attributes are in a table."""

    number: int
    directory: bytes
    modes: bytes
    sizes: bytes
    mtimes: bytes
    names: bytes


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


class Made(NamedTuple):
    """Receiver to sender: a directory or link of this path was made, `NEW` or in the place of something else, which it
    has `REPLACED`; or only the mode or time of what is there was set (`ATTRIBUTES`). With `dry_run` it would have been.
    """

    kind: int
    change: int
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
    | Made
    | Finish
    | Summary
    | Restart
    | FileTable
)
