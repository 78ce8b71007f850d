"""Strategies for the frames of a transfer."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from farhand_files import wire
from farhand_files.rows import FileRows

BYTES = st.binary(max_size=20)
DIGESTS = st.binary(min_size=32, max_size=32)
U8, U32, U64 = st.integers(0, 255), st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1)
I64 = st.integers(-(1 << 63), (1 << 63) - 1)
FLAG = st.integers(0, 1)


def chunks() -> st.SearchStrategy[bytes]:
    """Return lengths and digests as in a `Want`."""
    return st.lists(st.tuples(U32, DIGESTS), max_size=5).map(wire.pack_chunks)


def of_entry() -> st.SearchStrategy[wire.Entry]:
    """Return entries of every kind, with fields in their whole range."""

    def made(kind: int) -> st.SearchStrategy[wire.Entry]:
        target = U32.map(lambda number: str(number).encode()) if kind == wire.HARDLINK else BYTES
        size = st.integers(-1, (1 << 63) - 1)
        fields = (U32, st.just(kind), st.integers(0, 0o7777), U32, U32, I64, size, BYTES, target, BYTES)
        return st.builds(wire.Entry, *fields)

    return st.sampled_from([wire.REGULAR, wire.DIRECTORY, wire.SYMLINK, wire.HARDLINK]).flatmap(made)


def of_table() -> st.SearchStrategy[wire.FileTable]:
    """Return tables of some files, with numbers in their whole range."""
    name = st.binary(max_size=9).map(lambda name: name.replace(b"\0", b""))
    size = st.integers(0, (1 << 63) - 1)
    row = st.tuples(name, st.integers(0, 0o7777), size, I64)
    rows = st.lists(row, min_size=1, max_size=9)
    return st.builds(
        lambda number, path, each: FileRows(number, path, *zip(*each, strict=True)).table(), U32, BYTES, rows
    )


FRAMES: dict[type, st.SearchStrategy[Any]] = {
    wire.OptionsFrame: st.builds(wire.OptionsFrame, BYTES),
    wire.ReadyFrame: st.builds(wire.ReadyFrame, BYTES),
    wire.Entry: of_entry(),
    wire.Problem: st.builds(wire.Problem, U32, BYTES, BYTES),
    wire.Listed: st.builds(wire.Listed, U32, FLAG),
    wire.Walked: st.builds(wire.Walked, U64, U64, FLAG),
    wire.Skip: st.builds(wire.Skip, U32, st.integers(1, wire.MAX_UNANSWERED)),
    wire.Want: st.builds(wire.Want, U32, st.integers(0, 2), FLAG, chunks()),
    wire.Data: st.builds(wire.Data, U32, U64, st.binary(min_size=1, max_size=20)),
    wire.Hole: st.builds(wire.Hole, U32, U64, U64),
    wire.Copy: st.builds(wire.Copy, U32, U64, U64, U64),
    wire.FileEnd: st.builds(wire.FileEnd, U32, U64, I64, U32, DIGESTS, st.just(b"") | DIGESTS),
    wire.Abort: st.builds(wire.Abort, U32, U32, BYTES),
    wire.FileDone: st.builds(wire.FileDone, U32, DIGESTS),
    wire.Failed: st.builds(wire.Failed, U32, U32, BYTES),
    wire.Deleted: st.builds(wire.Deleted, BYTES),
    wire.Made: st.builds(wire.Made, st.integers(0, 3), st.integers(0, 2), BYTES),
    wire.Finish: st.builds(wire.Finish),
    wire.Summary: st.builds(wire.Summary, BYTES),
    wire.Restart: st.builds(wire.Restart, U32),
    wire.FileTable: of_table(),
}
"""Frames of each class."""

ANY_FRAME = st.one_of(*FRAMES.values())
