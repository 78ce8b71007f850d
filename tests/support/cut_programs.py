"""Where a connection is cut while a program such as rsync or git uses it, and what it is to copy."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Literal

from tests.support.faulty_proxy import Fault, Kind, random_faults

MiB = 1 << 20

SIDES: tuple[Literal["client"], Literal["service"]] = ("client", "service")

QUICK: dict[Kind, int] = {"fin": 4, "rst": 4, "edge": 1, "vanish": 1}
LONG: dict[Kind, int] = {"fin": 17, "rst": 17, "edge": 4, "vanish": 12}
"""How many of each kind in 10, and in 50."""


QUIET_SHARE = 0.2
"""The share of the cuts that are counted by the bytes of the side that only answers: in a handshake or a login."""

SPARE = 1.4
"""Cuts in store for each that has to happen: some connections end before theirs, as when the edge is killed."""


def faults_of(seed: int, kinds: dict[Kind, int], size: int, *, push: bool) -> list[Fault]:
    """Return the cuts for `size` bytes one way. They are through when, on average, seven tenths of the bytes are."""
    chance = random.Random(seed)
    bulk, quiet = SIDES if push else reversed(SIDES)
    cuts = sum(kinds.values())
    faults = [fault._replace(of=bulk) for fault in random_faults(seed, round(SPARE * cuts), size // cuts, kinds)]
    for at in range(1, len(faults)):
        if chance.random() < QUIET_SHARE:
            faults[at] = faults[at]._replace(of=quiet, after=chance.randrange(100, 2500))
    return faults


def fill(path: Path, size: int, seed: int) -> Path:
    """Write a file of random bytes, which no compression makes shorter."""
    chance = random.Random(seed)
    with path.open("wb") as file:
        for _ in range(size // MiB):
            file.write(chance.randbytes(MiB))
    return path
