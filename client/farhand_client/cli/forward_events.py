"""What `farhand forward` prints while it runs: sentences on stderr for people, or JSON on stdout for programs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from farhand_client.connection.reconnecting import Outage
from farhand_client.descriptors import descriptor_writer
from farhand_client.ui.outages import OutageNotice
from farhand_client.ui.printing import print_message, print_output
from farhand_client.ui.text import format_bytes, format_span
from farhand_forwards.targets import InetTarget

from .forwarding import asks_for_any_port, trouble_sentence
from .status import error_report

if TYPE_CHECKING:
    from farhand_client.errors import FarhandError
    from farhand_client.forwards.forward import Forward
    from farhand_client.forwards.reports import ForwardedConnection, ForwardEvent
    from farhand_client.forwards.specs import ForwardSpec

MAX_UNREAD_EVENTS: Final = 4096
"""Events that wait for a slow reader of stdout, a megabyte; further ones are counted instead, so that it holds up no
connection."""

FLUSH_TIMEOUT: Final = 1.0
"""Seconds in which a reader of stdout gets the last events; one that does not read does not keep us from ending."""


class ForwardReporter(Protocol):
    """Reports what happens to forwards."""

    def listening(self, forward: Forward) -> None:
        """Report that a forward listens. Raises OSError if stdout cannot be written."""

    def note(self, spec: ForwardSpec, event: ForwardEvent) -> None:
        """Report what has happened to the forward `spec`."""

    def outage(self, down: Outage | None) -> None:
        """Report an outage of the connection, and with None its end."""

    def failed(self, error: FarhandError) -> None:
        """Report why there are no forwards, or none any longer."""

    async def write(self) -> None:
        """Write what is reported until it is cancelled. Raises OSError if stdout cannot be written."""

    async def flush(self) -> None:
        """Write what is left at the end."""


class SentenceReporter:
    """For people. stdout has only the ports that were chosen: one a line, in the order of the forwards. With `verbose`
    stderr has each connection, and where forwards listen if `says_listening`."""

    def __init__(self, *, verbose: bool, says_listening: bool) -> None:
        self._verbose = verbose
        self._says_listening = says_listening

    def listening(self, forward: Forward) -> None:
        """Print where a forward listens."""
        if asks_for_any_port(forward.spec):
            print_output(str(forward.port), what=f"the port of {forward.spec}")
        if self._says_listening:
            print_message(f"{forward.spec}: listening on {forward.address}")

    def note(self, spec: ForwardSpec, event: ForwardEvent) -> None:
        """Print what is wrong, and with `verbose` each connection."""
        if (sentence := trouble_sentence(spec, event)) is not None:
            print_message(sentence)
        elif self._verbose and event.connection is not None:
            print_message(f"{spec}: {_sentence(event.connection, event.kind == 'opened')}")

    def outage(self, down: Outage | None) -> None:
        """Do nothing: `OutageNotice` does that."""

    def failed(self, error: FarhandError) -> None:
        """Print the error."""
        print_message(str(error))

    async def write(self) -> None:
        """Do nothing: everything is written at once."""
        await asyncio.get_running_loop().create_future()

    async def flush(self) -> None:
        """Do nothing."""


class EventReporter:
    """For programs: one JSON object a line on stdout."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque()
        self._dropped = 0
        self._more = asyncio.Event()

    def listening(self, forward: Forward) -> None:
        """Report where a forward listens, and on which port."""
        address = forward.address
        port = address.port if isinstance(address, InetTarget) else None
        self._put("listening", forward=str(forward.spec), listen=str(address), port=port)

    def note(self, spec: ForwardSpec, event: ForwardEvent) -> None:
        """Report what has happened."""
        names = {"opened": "accepted"}
        values = {} if event.connection is None else _connection_report(event.connection, ended=event.kind == "closed")
        if event.error is not None:
            values["error"] = str(event.error)
            if cause := getattr(event.error, "cause", None):
                values["cause"] = cause
        self._put(names.get(event.kind, event.kind), forward=str(spec), **values)

    def outage(self, down: Outage | None) -> None:
        """Report that the connection to the service is lost, or is back."""
        if down is None:
            self._put("reconnected")
        else:
            self._put("outage", error=str(down.cause), seconds_left=round(down.left, 3))

    def failed(self, error: FarhandError) -> None:
        """Report why there are no forwards, or none any longer."""
        self._put(**error_report(error), event="error")

    async def write(self) -> None:
        """Write what is reported until it is cancelled. Raises OSError."""
        out = descriptor_writer(1)
        while True:
            await self._more.wait()
            self._more.clear()
            lines, self._lines = list(self._lines), deque()
            dropped, self._dropped = self._dropped, 0
            if dropped:
                lines.append(_line({"event": "dropped", "events": dropped}))
            await out.write(lines)

    def _put(self, event: str, **values: Any) -> None:
        if len(self._lines) < MAX_UNREAD_EVENTS:
            self._lines.append(_line({"event": event, "time": time.time(), **values}))
        else:
            self._dropped += 1
        self._more.set()

    async def flush(self) -> None:
        """Write what is left, for at most `FLUSH_TIMEOUT`."""
        lines, self._lines = list(self._lines), deque()
        if lines:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_TIMEOUT):
                    await descriptor_writer(1).write(lines)


class ReportedOutage(OutageNotice):
    """An `OutageNotice` that a reporter gets, too."""

    def __init__(self, host: str, reporter: ForwardReporter) -> None:
        super().__init__(host)
        self._reporter = reporter

    def __call__(self, down: Outage | None) -> None:
        """Report on stderr, and to the reporter."""
        super().__call__(down)
        self._reporter.outage(down)


def _line(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values).encode() + b"\n"


def _connection_report(connection: ForwardedConnection, *, ended: bool) -> dict[str, Any]:
    report: dict[str, Any] = {
        "origin": connection.origin,
        "target": None if connection.target is None else str(connection.target),
        "address": None if connection.address is None else str(connection.address),
    }
    if ended:
        seconds = round(time.time() - connection.began, 3)
        report |= {"sent": connection.sent, "received": connection.received, "seconds": seconds}
    return report


def _sentence(connection: ForwardedConnection, opened: bool) -> str:
    origin = connection.origin or "a local program"
    target = "" if connection.target is None else f" to {connection.target}"
    if opened:
        real = connection.address
        at = "" if real is None or str(real) == str(connection.target) else f" ({real})"
        return f"connection from {origin}{target}{at}"
    lasted = format_span(time.time() - connection.began)
    moved = f"{format_bytes(connection.sent)} sent, {format_bytes(connection.received)} received"
    return f"connection from {origin}{target} closed after {lasted}, {moved}"
