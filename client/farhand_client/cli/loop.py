"""The event loop of the commands at which somebody types."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


def run_attended(main: Coroutine[Any, Any, int]) -> int:
    """As `asyncio.run`, on uvloop: from a key to its echo the client takes a quarter less of the processor's time, for
    an import of 5 ms."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
