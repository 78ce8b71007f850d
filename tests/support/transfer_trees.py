"""Files for transfers between a sender and a receiver in one process."""

from __future__ import annotations

import os
import random
from pathlib import Path

from farhand_files import wire

CHUNK = wire.CHUNK


LONG_AGO = 1_000_000_000_000_000_000


RANDOM = random.Random(13)


def write(path: Path, content: bytes, mtime: int = LONG_AGO) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, ns=(mtime, mtime))
    return os.fsencode(path)


def settle(top: Path) -> None:
    """Give all directories a time of modification that no test makes by chance."""
    for number, (directory, _, _) in enumerate(os.walk(top, topdown=False)):
        os.utime(directory, ns=(LONG_AGO, LONG_AGO + number * 1_000_000_007))
