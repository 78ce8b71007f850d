"""What a transfer reports while it goes on, and its totals. The same on both sides; paths are those of `wire.Entry`.

Events are reported in the thread in which they happen, by calling the function that was given to `Sender` or
`Receiver`; it must return at once.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias


class Found(NamedTuple):
    """The walk has found an entry. `size` is in bytes, -1 if unknown; 0 unless it is a regular file."""

    path: bytes
    kind: int
    size: int


class FoundAll(NamedTuple):
    """The walk is over: `entries` and `size` (bytes) in all."""

    entries: int
    size: int


class Begun(NamedTuple):
    """The content of a file is being transferred; the other side has `kept` bytes of it already."""

    path: bytes
    size: int
    kept: int


class Moved(NamedTuple):
    """Content of a file has been passed on or received: `done` bytes so far (holes and what the other side had count),
    `sent` of them over the connection."""

    path: bytes
    done: int
    sent: int


class Finished(NamedTuple):
    """A file is in place at the receiver. `sent` bytes went over the connection, `kept` were there already."""

    path: bytes
    size: int
    sent: int
    kept: int
    blake3: bytes
    sha256: bytes = b""


class Skipped(NamedTuple):
    """A file is up to date at the receiver."""

    path: bytes
    size: int


class Trouble(NamedTuple):
    """Something could not be read or written; `path` names it as its own side would. `remote` says on which side.
    `errno` is 0 for a notice: nothing has failed because of it. `source` is the path on this side of what the other one
    could not write, empty for everything else."""

    path: bytes
    errno: int
    sentence: str
    remote: bool
    source: bytes = b""


class Removed(NamedTuple):
    """A path was deleted at the receiver, or with `dry_run` would have been."""

    path: bytes


class Placed(NamedTuple):
    """A directory or link was made at the receiver, or with `dry_run` would have been; or only mode or time of what is
    there were set.

    `kind` is that of `wire.Entry`. `change` is `wire.NEW`, `wire.REPLACED` (something else was in its place), or
    `wire.ATTRIBUTES`.
    """

    path: bytes
    kind: int
    change: int


Event: TypeAlias = Found | FoundAll | Begun | Moved | Finished | Skipped | Trouble | Removed | Placed


class Totals:
    """What a transfer has done. The receiver counts; `failed` also counts what the sender could not read.

    `files` are regular files now in place because of this transfer, `bytes` their sizes in all; `sent` the bytes of
    content that went over the connection, `kept` those that the receiver had already; `skipped` files were up to date;
    `others` are directories, symbolic and hard links made. `digest` is the BLAKE3 digest of the file in hexadecimal if
    there was one file, and else empty.
    """

    def __init__(self) -> None:
        self.files = self.bytes = self.sent = self.kept = 0
        self.skipped = self.others = self.deleted = self.failed = 0
        self.digest = ""

    def to_json(self) -> dict[str, int | str]:
        """Return the totals as a JSON object."""
        return {name: getattr(self, name) for name in _TOTALS}

    @classmethod
    def from_json(cls, told: object) -> Totals:
        """Return the totals of a JSON object. Raises ValueError for anything that `to_json` does not return."""
        if not isinstance(told, dict) or told.keys() != set(_TOTALS):
            raise ValueError("these are no totals of a transfer")
        totals = cls()
        for name, value in told.items():
            kind = type(getattr(totals, name))
            if type(value) is not kind or (kind is int and not 0 <= value < 1 << 63):
                raise ValueError(f"{name} of a transfer's totals is {value!r}")
            setattr(totals, name, value)
        return totals


_TOTALS: Final = ("files", "bytes", "sent", "kept", "skipped", "others", "deleted", "failed", "digest")
