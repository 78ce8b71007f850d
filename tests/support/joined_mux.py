"""What the tests of `Mux` share."""

from __future__ import annotations

from farhand_forwards.mux import Mux
from farhand_forwards.targets import InetTarget

WEB = InetTarget("web", 80)


def sent(mux: Mux) -> bytes:
    return b"".join(mux.data_to_send())
