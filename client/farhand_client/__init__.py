"""Run commands on another machine: `async with connect("host") as client: await client.run(["uname", "-a"])`.

`farhand_client.sync` has the same names for scripts without asyncio. Names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from farhand_protocol.messages import (
        AppliedBounds,
        Bounds,
        Matched,
        OutputMark,
        RunInfo,
        TerminalRequest,
        UsageReport,
        WindowSize,
    )
    from farhand_protocol.outcome import Exited, Killed, Lost, Outcome, Signaled, SpawnFailed, TimedOut

    from .client import Client
    from .connection.reconnecting import LineDown, Outage
    from .connector import connect
    from .errors import (
        AddressError,
        AmbiguousId,
        AuthenticationError,
        CommandError,
        CommandTimeout,
        ConnectError,
        ConnectionLost,
        FarhandError,
        HostKeyChanged,
        HostKeyError,
        HostKeyRevoked,
        HostKeyUnknown,
        OutputIncomplete,
        RequestRefused,
        RunGoesOn,
        SpawnError,
    )
    from .options import DEVNULL, PIPE
    from .output import Chunk, Gap
    from .results import Completed, Result
    from .run import Run
    from .version import __version__

__all__ = [
    "DEVNULL",
    "PIPE",
    "AddressError",
    "AmbiguousId",
    "AppliedBounds",
    "AuthenticationError",
    "Bounds",
    "Chunk",
    "Client",
    "CommandError",
    "CommandTimeout",
    "Completed",
    "ConnectError",
    "ConnectionLost",
    "Exited",
    "FarhandError",
    "Gap",
    "HostKeyChanged",
    "HostKeyError",
    "HostKeyRevoked",
    "HostKeyUnknown",
    "Killed",
    "LineDown",
    "Lost",
    "Matched",
    "Outage",
    "Outcome",
    "OutputIncomplete",
    "OutputMark",
    "RequestRefused",
    "Result",
    "Run",
    "RunGoesOn",
    "RunInfo",
    "Signaled",
    "SpawnError",
    "SpawnFailed",
    "TerminalRequest",
    "TimedOut",
    "UsageReport",
    "WindowSize",
    "__version__",
    "connect",
]

_HOMES = {
    "farhand_client.client": ("Client",),
    "farhand_client.results": ("Completed", "Result"),
    "farhand_client.connector": ("connect",),
    "farhand_client.connection.reconnecting": ("LineDown", "Outage"),
    "farhand_client.output": ("Chunk", "Gap"),
    "farhand_client.options": ("DEVNULL", "PIPE"),
    "farhand_client.run": ("Run",),
    "farhand_client.version": ("__version__",),
    "farhand_protocol.messages": (
        "AppliedBounds",
        "Bounds",
        "OutputMark",
        "Matched",
        "RunInfo",
        "WindowSize",
        "TerminalRequest",
        "UsageReport",
    ),
    "farhand_protocol.outcome": ("Exited", "Killed", "Lost", "Outcome", "Signaled", "SpawnFailed", "TimedOut"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    home = next((module for module, names in _HOMES.items() if name in names), f"{__name__}.errors")
    return getattr(import_module(home), name)
