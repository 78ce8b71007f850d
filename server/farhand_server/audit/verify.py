"""Checking an audit log: every line by its hash, every line against the one before, the ends against the note."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .chain import START, BrokenLine, Link, check
from .files import CURRENT, Head, first_of, lines, older


class Broken(Exception):
    """The chain is broken; the text says in which file, at which line, and how."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A chain without a break: how many entries, the first one's number, and the last one's place."""

    entries: int
    first: int
    last: Link


def verify_state(state_dir: Path) -> Whole:
    """Check all files of a state directory, and that neither the oldest nor the newest entries are missing.

    Raises `Broken`, FileNotFoundError where there is no audit log, and other OSErrors from the file system.
    """
    head = Head.read(state_dir)
    # A service that died while it removed an older file has said before that it does not count any more.
    kept = [file for file in older(state_dir) if head is None or (first_of(file) or 0) >= head.first]
    files = [*kept, *(file for file in [state_dir / CURRENT] if file.exists())]
    if not files:
        raise (
            FileNotFoundError(f"there is no audit log in {state_dir}")
            if head is None
            else Broken(f"{state_dir}: all files are missing; there should be entries up to {head.last.seq}")
        )
    return _verify(files, head, state_dir)


def verify_files(files: Iterable[Path]) -> Whole:
    """Check these files alone, which are given the oldest first. Raises `Broken`, and OSError from the file system."""
    return _verify(list(files), None, None)


def _verify(files: list[Path], head: Head | None, state_dir: Path | None) -> Whole:
    last = None if head is None or head.first != 1 else START
    first, entries, seen = 0, 0, head is None or head.last.seq == 0
    for file in files:
        for number, raw in enumerate(lines(file), 1):
            try:
                link = check(raw, last)
                if entries == 0 and head is not None and link.seq != head.first:
                    raise BrokenLine(f"entry {head.first} should stand here, and this is entry {link.seq}")
                if head is not None and link.seq == head.last.seq:
                    seen = True
                    if link.hash != head.last.hash:
                        raise BrokenLine("the line is not the one that the service has written last")
            except BrokenLine as error:
                at = f"entry {last.seq + 1}" if last is not None else "the first entry"
                raise Broken(f"{file}: line {number}: at {at}: {error}") from None
            last = link
            entries += 1
            first = first or link.seq
    if not seen:
        assert head is not None
        end = last.seq if last is not None else 0
        raise Broken(f"{files[-1]}: ends with entry {end}; entries {end + 1} to {head.last.seq} are missing")
    if head is None and state_dir is not None and entries:
        raise Broken(f"{state_dir}: audit.head is missing or damaged: whether entries are missing cannot be told")
    return Whole(entries, first, last or START)
