"""The command line that starts a forward worker."""

from __future__ import annotations

from functools import cache
from typing import Final

from farhand_server.programs.command import own_argv

_PACKAGES: Final = ("farhand_server", "farhand_forwards", "farhand_protocol")

_WITHOUT_TLS: Final = "sys.modules['ssl'] = None; "
"""asyncio does without `ssl`, which would take a fifth of the start: a worker relays bytes as they are."""


@cache
def forward_argv() -> tuple[bytes, ...]:
    """Return the arguments that execute a worker (`own_argv`)."""
    return own_argv("farhand_server.forwards.worker", _PACKAGES, _WITHOUT_TLS)
