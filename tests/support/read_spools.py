"""What a spool holds, and the descriptor of its file."""

from __future__ import annotations

from pathlib import Path

from farhand_server.runs.output.filespool import FileSpool
from farhand_server.runs.snapshots import Blob


def everything(spool: FileSpool, offset: int, limit: int) -> bytes:
    read = b""
    while data := spool.read(offset + len(read), limit):
        assert len(data) <= limit
        read += data
    return read


def unused(chunks: list[bytes]) -> Blob:
    """Fail: a spool whose bytes are in its file stores nothing in the snapshot."""
    raise AssertionError(chunks)


def fd_of(path: Path) -> int:
    """Return the descriptor with which this process has the file open."""
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if entry.readlink() == path:
                return int(entry.name)
        except FileNotFoundError:
            continue
    raise AssertionError(f"{path} is not open")
