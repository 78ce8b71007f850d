"""Run commands on another machine: `async with connect("host") as client: await client.run(["uname", "-a"])`.

`farhand_client.sync` has the same API for scripts without asyncio. The names below are imported on first use, so that
importing this package costs nothing.

The way of a request and of its output, module by module:

    connector   connect() makes a Client: resolves HOST, dials, logs in (all in `connection/`, keys in `trust/`)
    client      what can be asked of a service; run() collects output, start() and attach() give a Run
    options     RunOptions, checked once, becomes the message that asks for the run
    run         a Run: what a script does with one run, as with asyncio.subprocess.Process
    attachment  the run's channel, opened again after each outage at the offsets that its streams have reached
    streams     those offsets; output and stdin hold the bytes, which wait for a reader or for the service's credit
    calls       requests with one answer: lists, signals, recordings, waits
    results     how a run ended; errors is everything else that can go wrong

Below these, `connection.reconnecting` keeps one session after the other, and `connection.session` routes what arrives
on each. `cli/` is the command line and `repl/` its prompt; both use this API, and `terminal/` and `recording/`.
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
    from .connection.reconnecting import Outage
    from .connector import connect
    from .errors import (
        AddressError,
        AmbiguousId,
        AuthenticationError,
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
    from .options import DEVNULL, PIPE, RunOptions
    from .output import Chunk, Gap
    from .results import CommandError, CommandTimeout, Completed, Result
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
    "RunOptions",
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
    "farhand_client.results": ("CommandError", "CommandTimeout", "Completed", "Result"),
    "farhand_client.connector": ("connect",),
    "farhand_client.connection.reconnecting": ("Outage",),
    "farhand_client.output": ("Chunk", "Gap"),
    "farhand_client.options": ("DEVNULL", "PIPE", "RunOptions"),
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


_FORMER_NAMES = {"LineDown": "Outage"}


def __getattr__(name: str) -> Any:
    name = _FORMER_NAMES.get(name, name)
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    home = next((module for module, names in _HOMES.items() if name in names), f"{__name__}.errors")
    return getattr(import_module(home), name)
