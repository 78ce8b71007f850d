"""How long, and how closely, a line is watched over that somebody has a terminal at the end of."""

from __future__ import annotations

from typing import Final

STAYING: Final = 86400.0
"""Seconds for which a lost connection is made again while somebody has a terminal here: as long as services keep one by
default. Whoever is tired of it leaves by a key."""

KEEPALIVE: Final = 5.0
"""Seconds between signs of life then: after three of them a dead line is known as such, before people wonder."""
