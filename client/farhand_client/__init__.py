"""Run commands on another machine: `async with connect("host") as client: await client.run(["uname", "-a"])`.

`farhand_client.sync` has the same names for scripts without asyncio. Names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from farhand_protocol.outcome import Exited, Killed, Lost, Outcome, Signaled, SpawnFailed, TimedOut

    from .client import Client
    from .completed import Completed, Result
    from .connector import connect
    from .errors import (
        AddressError,
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
        SpawnError,
    )
    from .request import DEVNULL, PIPE
    from .run import Run
    from .version import __version__

__all__ = [
    "DEVNULL",
    "PIPE",
    "AddressError",
    "AuthenticationError",
    "Client",
    "CommandError",
    "CommandTimeout",
    "Completed",
    "ConnectError",
    "ConnectionLost",
    "Exited",
    "FarhandError",
    "HostKeyChanged",
    "HostKeyError",
    "HostKeyRevoked",
    "HostKeyUnknown",
    "Killed",
    "Lost",
    "Outcome",
    "OutputIncomplete",
    "RequestRefused",
    "Result",
    "Run",
    "Signaled",
    "SpawnError",
    "SpawnFailed",
    "TimedOut",
    "__version__",
    "connect",
]

_HOMES = {
    "client": ("Client",),
    "completed": ("Completed", "Result"),
    "connector": ("connect",),
    "request": ("DEVNULL", "PIPE"),
    "run": ("Run",),
    "version": ("__version__",),
}
_OUTCOMES = frozenset({"Exited", "Killed", "Lost", "Outcome", "Signaled", "SpawnFailed", "TimedOut"})


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    home = next((module for module, names in _HOMES.items() if name in names), "errors")
    module = import_module("farhand_protocol.outcome" if name in _OUTCOMES else f"{__name__}.{home}")
    return getattr(module, name)
