"""The end of a receiver's transfer."""

from __future__ import annotations

from farhand_files import wire
from tests.support.transferring import FakeSender


def finished(sender: FakeSender) -> list[wire.Frame]:
    """End a transfer in which nothing is wanted any more, and return what was answered."""
    return list(sender.finish())
