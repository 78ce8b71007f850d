"""Run commands on another machine: `async with connect("host") as client: await client.run(["uname", "-a"])`.

`farhand_client.sync` has the same API for scripts without asyncio. The names below are imported on first use, so that
importing this package costs nothing.

How a request and its output travel, module by module:

    connector   connect() returns a Client: it resolves HOST, dials and logs in (`connection/`; keys are in `trust/`)
    client      the requests that a service accepts; run() collects output, start() and attach() return a Run
    options     RunOptions checks the options of a run once, and converts them to the message that requests it;
                `attach_request` does so for an attachment
    run         Run, which a script uses like an asyncio.subprocess.Process
    attachment  the run's channel, reopened after each outage at the offsets that its streams have reached
    streams     tracks those offsets; `output` and `stdin` buffer bytes for a reader, or until the service has credit
    calls       requests with one answer: lists, signals, recordings, waits
    files       put, get and sync: transfers of files, which are runs too
    forwards    connections to and from the service's machine, all through one run
    results     how a run ended; `errors` has everything else that can go wrong

Below these, `connection.reconnecting` replaces a lost session with a new one, and `connection.session` routes what
arrives on one connection. `cli/` is the command line and `repl/` its prompt; both use this API, `terminal/` and
`recording/`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from farhand_files.events import (
        Begun,
        Event,
        Finished,
        Found,
        FoundAll,
        Moved,
        Placed,
        Removed,
        Skipped,
        Trouble,
    )
    from farhand_protocol.messages import (
        AppliedBounds,
        Bounds,
        LeftProcesses,
        Matched,
        OutputMark,
        RunInfo,
        ServiceStatus,
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
        CarrierFailed,
        ConnectError,
        ConnectionLost,
        FarhandError,
        ForwardError,
        HostKeyChanged,
        HostKeyError,
        HostKeyRevoked,
        HostKeyUnknown,
        NotUsableHere,
        OutputIncomplete,
        RequestRefused,
        RunGoesOn,
        SpawnError,
        TransferError,
        TransferIncomplete,
        TransferInterrupted,
        TransferRefused,
        TunnelLost,
    )
    from .files.places import Remote
    from .files.transfer import Transfer
    from .forwards.forward import Forward, LocalForward, RemoteForward
    from .forwards.reports import ForwardedConnection, ForwardEvent
    from .forwards.socks_forward import RemoteSocksForward, SocksForward
    from .options import DEVNULL, PIPE, STDOUT, RunOptions
    from .output import Chunk, Gap
    from .results import CommandError, CommandTimeout, Completed, Result
    from .run import Run, RunWithStdin
    from .transferred import Transferred
    from .version import __version__

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "AddressError",
    "AmbiguousId",
    "AppliedBounds",
    "AuthenticationError",
    "Begun",
    "Bounds",
    "CarrierFailed",
    "Chunk",
    "Client",
    "CommandError",
    "CommandTimeout",
    "Completed",
    "ConnectError",
    "ConnectionLost",
    "Event",
    "Exited",
    "FarhandError",
    "Finished",
    "Forward",
    "ForwardError",
    "ForwardEvent",
    "ForwardedConnection",
    "Found",
    "FoundAll",
    "Gap",
    "HostKeyChanged",
    "HostKeyError",
    "HostKeyRevoked",
    "HostKeyUnknown",
    "Killed",
    "LeftProcesses",
    "LocalForward",
    "Lost",
    "Matched",
    "Moved",
    "NotUsableHere",
    "Outage",
    "Outcome",
    "OutputIncomplete",
    "OutputMark",
    "Placed",
    "Remote",
    "RemoteForward",
    "RemoteSocksForward",
    "Removed",
    "RequestRefused",
    "Result",
    "Run",
    "RunGoesOn",
    "RunInfo",
    "RunOptions",
    "RunWithStdin",
    "ServiceStatus",
    "Signaled",
    "Skipped",
    "SocksForward",
    "SpawnError",
    "SpawnFailed",
    "TerminalRequest",
    "TimedOut",
    "Transfer",
    "TransferError",
    "TransferIncomplete",
    "TransferInterrupted",
    "TransferRefused",
    "Transferred",
    "Trouble",
    "TunnelLost",
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
    "farhand_client.options": ("DEVNULL", "PIPE", "STDOUT", "RunOptions"),
    "farhand_client.files.places": ("Remote",),
    "farhand_client.transferred": ("Transferred",),
    "farhand_client.files.transfer": ("Transfer",),
    "farhand_client.forwards.forward": ("Forward", "LocalForward", "RemoteForward"),
    "farhand_client.forwards.reports": ("ForwardEvent", "ForwardedConnection"),
    "farhand_client.forwards.socks_forward": ("RemoteSocksForward", "SocksForward"),
    "farhand_client.run": ("Run", "RunWithStdin"),
    "farhand_client.version": ("__version__",),
    "farhand_files.events": (
        "Begun",
        "Event",
        "Finished",
        "Found",
        "FoundAll",
        "Moved",
        "Placed",
        "Removed",
        "Skipped",
        "Trouble",
    ),
    "farhand_protocol.messages": (
        "AppliedBounds",
        "Bounds",
        "OutputMark",
        "Matched",
        "LeftProcesses",
        "RunInfo",
        "ServiceStatus",
        "WindowSize",
        "TerminalRequest",
        "UsageReport",
    ),
    "farhand_protocol.outcome": ("Exited", "Killed", "Lost", "Outcome", "Signaled", "SpawnFailed", "TimedOut"),
}

# Scripts written for an earlier name keep working. Type checkers and `__all__` know only the new one.
_FORMER_NAMES = {
    "Applied": "AppliedBounds",
    "LineDown": "Outage",
    "Mark": "OutputMark",
    "Size": "WindowSize",
    "Terminal": "TerminalRequest",
    "Usage": "UsageReport",
}


def __dir__() -> list[str]:
    # Without the modules that are loaded, which are not public but for `sync`: completion in a Python prompt asks here.
    return sorted({*__all__, *(name for name in globals() if name.startswith("__") or name == "sync")})


def __getattr__(name: str) -> Any:
    name = _FORMER_NAMES.get(name, name)
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    home = next((module for module, names in _HOMES.items() if name in names), f"{__name__}.errors")
    return getattr(import_module(home), name)
