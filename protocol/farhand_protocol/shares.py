"""How shares and holds in a `service_status` are shown to people, by both programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from . import messages as m
from .sentences import counted


def share_lines(shares: Iterable[m.ShareInfo]) -> Iterator[str]:
    """Yield a line for each user, with what that user has and may have."""
    for user, group in groupby(shares, lambda share: share.user):
        yield f"{user}: " + ", ".join(map(_text, group))


def _text(share: m.ShareInfo) -> str:
    if share.resource in ("memory", "disk"):
        return f"{share.used >> 20} of {share.limit >> 20} MiB of {share.resource}"
    return f"{share.used} of {share.limit} {share.resource}"


def hold_lines(holds: m.LoopHolds) -> Iterator[str]:
    """Yield a line if anything has held up the service for everybody."""
    if holds.times:
        yield (
            f"loop held {counted(holds.times, 'time')} for more than 50 ms: "
            f"at most {holds.longest:.3f} s, {holds.total:.3f} s in all"
        )
