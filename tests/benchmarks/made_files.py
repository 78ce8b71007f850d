"""Files of random bytes, made once for all rounds of a benchmark."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

PER_DIRECTORY: Final = 100
"""Files in one directory."""


def make_large_file(path: Path, size: int) -> None:
    """Make a file of `size` bytes, in whole MiB, unless it is there."""
    if not path.exists():
        with path.open("wb") as file:
            for _ in range(size >> 20):
                file.write(random.randbytes(1 << 20))


def make_files(directory: Path, count: int, size: int) -> None:
    """Make `count` files of `size` bytes in directories below this one, unless it is there."""
    if directory.exists():
        return
    for number in range(count):
        below = directory / f"{number // PER_DIRECTORY:04}"
        if number % PER_DIRECTORY == 0:
            below.mkdir(parents=True)
        (below / f"file-{number:06}").write_bytes(random.randbytes(size))
