"""Checks an audit log: every line against its hash and the previous line, and both ends against `audit.head`."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from .chain import (
    CHAIN_START,
    CURRENT_FILE,
    BrokenLine,
    ChainAnchor,
    ChainedLine,
    ChainHead,
    check_line,
    first_entry,
    older_files,
    read_lines,
)

MAX_ROTATIONS: Final = 10
"""Attempts to open all files between two rotations. A busy service rotates every few minutes."""


class BrokenChain(Exception):
    """The chain is broken. The text says in which file, at which line, and how."""


@dataclass(frozen=True, slots=True)
class VerifiedChain:
    """An unbroken chain: the number of entries, the number of the first one, the place of the last one, and what is
    known about the last one that rotation has deleted before."""

    entries: int
    first: int
    last: ChainedLine
    anchor: ChainAnchor | None = None


@dataclass(frozen=True, slots=True)
class _OpenFile:
    path: Path
    stream: BinaryIO


def verify_state(state_dir: Path) -> VerifiedChain:
    """Check all files of a state directory, and check that neither the oldest nor the newest entries are missing.

    Raises `BrokenChain`, FileNotFoundError if there is no audit log, and other OSErrors from the file system.
    """
    with ExitStack() as opened:
        head, files = _open_at_once(state_dir, opened)
        if not files:
            raise (
                FileNotFoundError(f"there is no audit log in {state_dir}")
                if head is None
                else BrokenChain(f"{state_dir}: all files are missing; there should be entries up to {head.last.seq}")
            )
        return _verify(files, head, state_dir)


def verify_files(files: Iterable[Path]) -> VerifiedChain:
    """Check only these files, given oldest first. Raises `BrokenChain`, and OSError from the file system."""
    with ExitStack() as opened:
        return _verify([_OpenFile(file, opened.enter_context(file.open("rb"))) for file in files], None, None)


def _open_at_once(state_dir: Path, opened: ExitStack) -> tuple[ChainHead | None, list[_OpenFile]]:
    """Open the head's files as they were at one moment, although a service may rotate them meanwhile."""
    for _ in range(MAX_ROTATIONS):
        opened.close()
        head, older = ChainHead.read(state_dir), older_files(state_dir)
        # If a service died while deleting an older file, it had already removed that file from the head.
        paths = [file for file in older if head is None or (first_entry(file) or 0) >= head.first]
        files = []
        for path in [*paths, state_dir / CURRENT_FILE]:
            with suppress(FileNotFoundError):
                files.append(_OpenFile(path, opened.enter_context(path.open("rb"))))
        now = ChainHead.read(state_dir)
        if older_files(state_dir) == older and (now and now.first) == (head and head.first):
            break
    return head, files


def _verify(files: list[_OpenFile], head: ChainHead | None, state_dir: Path | None) -> VerifiedChain:
    anchor = None if head is None else head.anchor
    last = CHAIN_START if head is not None and head.first == 1 else None
    if anchor is not None:
        last = anchor.place
    first, entries, head_seen = 0, 0, head is None or head.last.seq == 0
    for file in files:
        for number, raw in enumerate(read_lines(file.stream), 1):
            if head is not None and head_seen and file is files[-1] and not raw.endswith(b"\n"):
                break  # the service is writing it, or has died while it did, and will record that
            try:
                place = check_line(raw, last)
                if entries == 0 and head is not None and place.seq != head.first:
                    raise BrokenLine(f"entry {head.first} expected, found entry {place.seq}")
                if head is not None and place.seq == head.last.seq:
                    head_seen = True
                    if place.hash != head.last.hash:
                        raise BrokenLine("it is not the last line that the service wrote")
            except BrokenLine as error:
                at = f"entry {last.seq + 1}" if last is not None else "the first entry"
                raise BrokenChain(f"{file.path}: line {number}: at {at}: {error}") from None
            last = place
            entries += 1
            first = first or place.seq
    if not head_seen:
        assert head is not None
        end = last.seq if last is not None else 0
        raise BrokenChain(f"{files[-1].path}: ends with entry {end}; entries {end + 1} to {head.last.seq} are missing")
    if head is None and state_dir is not None and entries:
        raise BrokenChain(f"{state_dir}: audit.head is missing or damaged, so missing entries would not be noticed")
    return VerifiedChain(entries, first, last or CHAIN_START, anchor)
