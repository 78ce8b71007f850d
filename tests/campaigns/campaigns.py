"""All campaigns, in the order in which they run."""

from __future__ import annotations

from typing import Final

from . import cuts, escapes, faults, flips, fuzzing, idle, kills, leaks, opens, openssh, soak, streaming, trees, volume
from .harness import Campaign

ALL: Final[tuple[Campaign, ...]] = (
    idle.CAMPAIGN,
    opens.CAMPAIGN,
    streaming.CAMPAIGN,
    volume.CAMPAIGN,
    cuts.CAMPAIGN,
    trees.CAMPAIGN,
    kills.CAMPAIGN,
    faults.CAMPAIGN,
    openssh.CAMPAIGN,
    escapes.CAMPAIGN,
    leaks.CAMPAIGN,
    soak.CAMPAIGN,
    fuzzing.CAMPAIGN,
    flips.CAMPAIGN,
)
