"""What the receiver decides for each entry, and what it deletes. No I/O: what exists comes in, and a decision goes out.

Files and symbolic links replace each other. Only with `delete` they replace a directory, or a directory them: each of
these may be a person's work.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from enum import Enum
from typing import Final, NamedTuple

from . import wire
from .names import is_temporary
from .options import TransferOptions

DEVICE: Final = 4
"""The kind of `Existing` of a block or character device. The first four are those of entries."""

SPECIAL: Final = 5
"""The kind of a FIFO, a socket, or what else is no file, directory, link or device."""

DELTA_MIN: Final = 1 << 20
"""Bytes of a file, and of the older one, from which a delta is worth it: less takes a few milliseconds to send whole,
and finding the differences costs a round trip and both sides reading it all."""


class Existing(NamedTuple):
    """What is in the place of an entry. `size`, `mtime` (ns) and `mode` are from lstat(2); `target` is that of a
    symbolic link. `foreign`: an owner or extended attributes are requested, and it has others."""

    kind: int
    size: int = 0
    mtime: int = 0
    mode: int = 0
    target: bytes = b""
    foreign: bool = False


class Action(Enum):
    """What the receiver does for an entry. The first four wait for nothing; `WANT_…` request content."""

    SKIP = "it is up to date"
    LEAVE = "it is too large or too old: leave what is there, if anything"
    REFUSE = "it cannot be there: report the sentence"
    MAKE = "make the directory or link; a link, and with delete a directory, replaces a file or link"
    WANT_ALL = "request the content"
    WANT_REST = "request what an earlier attempt's temporary file lacks"
    WANT_CHANGED = "request the chunks that differ from those of the target at the same offsets"
    COMPARE = "with dry_run and checksum: find out whether the digests are equal"
    WANT_DELTA = "request what neither the temporary file of an earlier attempt nor the target has, at any offset"


WANTED: Final = {
    Action.WANT_ALL: wire.NOTHING,
    Action.WANT_REST: wire.PARTIAL,
    Action.WANT_CHANGED: wire.PARTIAL,
    Action.COMPARE: wire.PARTIAL,
    Action.WANT_DELTA: wire.BASIS,
}
"""The field `basis` of the `Want` for each action that requests content."""


REPLACING: Final = frozenset({Action.MAKE, *WANTED})
"""The actions after which an entry is in its place, whatever was there."""


class EntryDecision(NamedTuple):
    """What to do for an entry.

    `attributes`: what is there stays, but its mode or modification time is set; `told`: that is worth telling.
    `sentence` is for a refusal."""

    action: Action
    attributes: bool = False
    told: bool = False
    sentence: str = ""


def mode_of(entry: wire.Entry, options: TransferOptions) -> int:
    """Return the mode that what an entry makes will have: without setuid and setgid unless requested. A directory keeps
    its sticky bit, without which others could remove what is in it."""
    if entry.kind == wire.REGULAR and options.mode is not None:
        return options.mode
    return entry.mode & (0o1777 if entry.kind == wire.DIRECTORY else 0o777)


def decide(
    entry: wire.Entry, existing: Existing | None, options: TransferOptions, *, partial: int = 0, delta: bool = False
) -> EntryDecision:
    """Decide what to do for an entry.

    `existing` is what is in its place, None for nothing. `partial` is the size of the temporary file that an earlier
    attempt has left for it, 0 for none. `delta`: both sides can find what two files have in common.
    With `dry_run` the same is decided; the receiver then only counts, or compares.
    """
    match entry.kind:
        case wire.DIRECTORY:
            return _directory(entry, existing, options)
        case wire.SYMLINK:
            if existing is not None and existing.kind == wire.SYMLINK and existing.target == entry.target:
                return EntryDecision(Action.SKIP, attributes=existing.foreign, told=existing.foreign)
            return _obstacle(entry, existing, options) or EntryDecision(Action.MAKE)
        case wire.HARDLINK:
            return _obstacle(entry, existing, options) or EntryDecision(Action.MAKE)
        case _:
            return _regular(entry, existing, options, partial, delta)


def _directory(entry: wire.Entry, existing: Existing | None, options: TransferOptions) -> EntryDecision:
    if existing is None:
        return EntryDecision(Action.MAKE)
    if existing.kind != wire.DIRECTORY:
        if options.delete and entry.path and existing.kind in (wire.REGULAR, wire.SYMLINK):
            return EntryDecision(Action.MAKE)
        return _refusal("a directory", existing)
    if not entry.path:  # the destination itself is the user's: `put site/ HOST:/tmp` does not change /tmp
        return EntryDecision(Action.SKIP)
    # Its time changes with everything that is made in it.
    differs = existing.foreign or bool((existing.mode ^ mode_of(entry, options)) & 0o1777)
    return EntryDecision(Action.SKIP, attributes=_differs(entry, existing, options), told=differs)


def _regular(
    entry: wire.Entry, existing: Existing | None, options: TransferOptions, partial: int, delta: bool
) -> EntryDecision:
    if not options.in_range(entry.size, entry.mtime):
        return EntryDecision(Action.LEAVE)
    if existing is not None and existing.kind == wire.REGULAR:
        return _older(entry, existing, options, partial, delta)
    if existing is not None and existing.kind == DEVICE and options.in_place:
        return EntryDecision(Action.WANT_ALL)
    return _obstacle(entry, existing, options) or EntryDecision(Action.WANT_REST if partial else Action.WANT_ALL)


def _older(entry: wire.Entry, existing: Existing, options: TransferOptions, partial: int, delta: bool) -> EntryDecision:
    """Decide about a regular file that is in the place of one."""
    same_size = existing.size == entry.size
    if same_size and (not existing.size if options.checksum else existing.mtime == entry.mtime):
        differs = _differs(entry, existing, options)
        return EntryDecision(Action.SKIP, attributes=differs, told=differs)
    if same_size and options.checksum:
        action = Action.COMPARE if options.dry_run else Action.WANT_CHANGED
        return EntryDecision(action, told=_differs(entry, existing, options))
    if options.in_place:  # there is no temporary file, and what was overwritten cannot be copied from
        return EntryDecision(Action.WANT_CHANGED if existing.size else Action.WANT_ALL)
    if options.delta and delta and min(existing.size, entry.size) >= DELTA_MIN:
        return EntryDecision(Action.WANT_DELTA)
    return EntryDecision(Action.WANT_REST if partial else Action.WANT_ALL)


def _differs(entry: wire.Entry, existing: Existing, options: TransferOptions) -> bool:
    bits = 0o1777 if entry.kind == wire.DIRECTORY else 0o7777  # a directory may inherit setgid from that above it
    times = options.times and existing.mtime != entry.mtime
    return times or existing.foreign or (existing.mode ^ mode_of(entry, options)) & bits != 0


_OBSTACLES: Final = {
    wire.REGULAR: "a file",
    wire.DIRECTORY: "a directory",
    wire.SYMLINK: "a symbolic link",
    DEVICE: "a device",
    SPECIAL: "no regular file (a FIFO or a socket)",
}
_NAMES: Final = {wire.REGULAR: "a file", wire.SYMLINK: "a symbolic link", wire.HARDLINK: "a file"}


def _obstacle(entry: wire.Entry, existing: Existing | None, options: TransferOptions) -> EntryDecision | None:
    """Return the refusal if a file or link cannot replace what exists."""
    if existing is None or existing.kind in (wire.REGULAR, wire.SYMLINK):
        return None
    if existing.kind == wire.DIRECTORY and options.delete and not options.in_place:
        return None
    return _refusal(_NAMES[entry.kind], existing)


def _refusal(what: str, existing: Existing) -> EntryDecision:
    there = _OBSTACLES[existing.kind]
    if existing.kind == DEVICE:
        return EntryDecision(Action.REFUSE, sentence=f"there is {there}; only --in-place writes to it")
    return EntryDecision(
        Action.REFUSE, sentence=f"there is {there}, and {what} does not replace it; remove or rename it"
    )


def may_delete(options: TransferOptions, walked_all: bool, failed: int) -> bool:
    """Return whether anything is deleted at all: only if the sender could read everything, and nothing has failed."""
    return options.delete and walked_all and not failed


def surplus(
    directory: bytes,
    there: Iterable[tuple[bytes, bool]],
    listed: Container[bytes],
    excludes: Callable[[bytes, bool], bool],
) -> Iterator[tuple[bytes, bool]]:
    """Yield what `delete` removes directly in a directory, of the names there; with each, whether it is a directory.

    `directory` is its path in the transfer. `listed` are the names that the sender has in it, all of them: not for a
    directory that was listed incompletely. `excludes` is `Selection.excludes`: what is excluded stays, also inside a
    directory that goes, which then stays too. For such a directory, call this with nothing `listed`.
    """
    for name, is_directory in there:
        path = directory + b"/" + name if directory else name
        if name not in listed and not is_temporary(name) and not excludes(path, is_directory):
            yield name, is_directory
