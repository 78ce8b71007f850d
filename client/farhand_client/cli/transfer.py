"""Does a transfer for `put`, `get`, `sync` and `cp`: connects, reports, and says how to go on after Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from farhand_client.errors import ConnectionLost, FarhandError
from farhand_client.ui.exitcodes import error_exit_code
from farhand_client.ui.failures import unforeseen
from farhand_client.ui.interrupts import SignalHandler
from farhand_client.ui.outages import OutageNotice
from farhand_client.ui.printing import print_json, print_message, require_stdin, require_stdout
from farhand_client.ui.transfer_printer import JsonPrinter, TransferPrinter
from farhand_protocol.values import MAX_PATHS

from .connection import run_with_client
from .host_paths import STANDARD, remote_bytes
from .loop import run_attended
from .status import error_report
from .transfer_options import transfer_keywords

if TYPE_CHECKING:
    from farhand_client.client import Client
    from farhand_client.files.transfer import Transfer

AGAIN: Final = "run the same command again; what has arrived is not sent again"


class TypedTransfer(NamedTuple):
    """What to transfer, as it was typed: paths on this machine, and on the service's machine `host`."""

    operation: Literal["put", "get"]
    host: str
    sources: Sequence[str]
    destination: str
    sync: bool = False

    @property
    def is_pipe(self) -> bool:
        """Whether it is from stdin or to stdout, and cannot be repeated."""
        return STANDARD in self.sources if self.operation == "put" else self.destination == STANDARD


def run_transfer(parser: argparse.ArgumentParser, options: argparse.Namespace, request: TypedTransfer) -> int:
    """Do the transfer, and return the exit code."""
    if request.operation == "get" and len(request.sources) > MAX_PATHS:
        number = len(request.sources)
        parser.error(f"{number} SRC are more than {MAX_PATHS}; use a pattern in quotes, which {request.host} expands")
    check_standard(parser, options, request)
    options.host = request.host
    outage = OutageNotice(request.host)
    return run_with_client(options, partial(_transfer, options, request, outage), outage=outage, run=run_attended)


def check_standard(parser: argparse.ArgumentParser, options: argparse.Namespace, request: TypedTransfer) -> None:
    """Exit with 2 if stdin or stdout cannot be what `request` needs it for. Raises `LocalError` if it is closed."""
    if not request.is_pipe:
        return
    if request.operation == "put":
        if len(request.sources) > 1:
            parser.error("- is stdin, which is one file; put it alone, without other SRC")
        if request.destination.endswith("/") or not request.destination:
            parser.error("stdin has no name; write DEST as the path of a file")
        if request.destination == STANDARD:
            parser.error("SRC is stdin, and a file there is not stdout; for one that is named -, write DEST as ./-")
        require_stdin()
        return
    if len(request.sources) > 1:
        parser.error("- is stdout, to which only one SRC can be written")
    if options.json:
        parser.error("--json writes events to stdout; it cannot be combined with - for DEST")
    require_stdout("what is got would be lost")


async def _transfer(options: argparse.Namespace, request: TypedTransfer, outage: OutageNotice, client: Client) -> int:
    report: TransferPrinter | JsonPrinter
    if options.json:
        report = JsonPrinter()
    else:
        to_stdout = request.operation == "get" and request.is_pipe
        report = TransferPrinter(
            request.host,
            destination=remote_bytes(request.destination) if request.operation == "put" else None,
            verbose=options.verbose,
            quiet=options.quiet,
            sha256=options.sha256,
            dry_run=options.dry_run,
            digests=2 if to_stdout else 1,
        )
    signals = SignalHandler()
    try:
        with signals, signals.interrupts_to(signals.end), report.shown(outage.through):
            transfer = start_transfer(client, request, progress=report.note, check=False, **transfer_keywords(options))
            if isinstance(report, TransferPrinter) and report.wanted:
                transfer.only(*report.wanted)
            transferred = await transfer
    except asyncio.CancelledError:
        if signals.ended_by is None:
            raise
        print_message("stopped" if request.is_pipe else f"stopped; to go on, {AGAIN}")
        return 128 + signals.ended_by
    except BrokenPipeError:
        raise  # nobody reads stdout any more
    except (FarhandError, OSError) as error:
        failure = unforeseen(error)
        resumes = isinstance(failure, ConnectionLost) and not request.is_pipe
        if options.json:
            print_json({"event": "error", **error_report(failure)["error"]})
        else:
            print_message(f"{failure}; to go on, {AGAIN}" if resumes else str(failure))
        return error_exit_code(failure)
    return report.finish(transferred)


def start_transfer(client: Client, request: TypedTransfer, **keywords: Any) -> Transfer:
    """Return the transfer, to be awaited. Raises as `Client.put` does."""
    from farhand_client.files.places import Remote

    if request.operation == "put":
        destination = remote_bytes(request.destination)
        if request.sync:
            return client.sync(request.sources[0], Remote(destination), **keywords)
        sources = [0 if source == STANDARD else source for source in request.sources]
        return client.put(sources, destination, **keywords)
    patterns = [remote_bytes(source) for source in request.sources]
    if request.sync:
        return client.sync(Remote(patterns[0]), request.destination, **keywords)
    return client.get(patterns, 1 if request.destination == STANDARD else request.destination, **keywords)
