"""`farhand replay`: what a run has written, with the pauses it made."""

from __future__ import annotations

import argparse
import asyncio
import math
import os
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from contextlib import aclosing

from farhand_client.client import Client
from farhand_client.output import Gap, Output
from farhand_client.recording.events import GapEvent, OutputEvent, RecordedEvent, RecordingReader, ResizeEvent
from farhand_client.recording.player import Player
from farhand_client.ui.exitcodes import EXIT_INTERRUPTED
from farhand_client.ui.interrupts import SignalHandler
from farhand_client.ui.printing import LocalError, print_gap, print_message
from farhand_client.ui.streams import descriptor_writer
from farhand_protocol.messages.terminal import WindowSize

from .connection import run_with_client
from .options import add_connection_options, add_reconnect, command_parser
from .values import nonnegative_seconds, run_id, speed

EPILOG = """\
A run on a terminal is shown on ours; it should be as large as that was. There, space pauses and goes on, and Ctrl-C and
q end it, with the terminal as it was. A run without one has its stdout on ours and its stderr on ours. What is no
longer kept is said on stderr, and takes no time. Of a run that goes on, what has come until now is played. Exit code: 0
at the end of the recording, and after q; 130 after Ctrl-C.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    given = command_parser("replay", "HOST ID", "Show what a run has written, with the pauses it made.", EPILOG)
    add = given.add_argument
    add("--speed", metavar="N", type=speed, default=1.0, help="N times as fast (2, 0.5; default 1)")
    add(
        "--idle-limit",
        metavar="S",
        type=nonnegative_seconds,
        default=math.inf,
        help="make no pause longer than S seconds",
    )
    add_reconnect(given)
    add_connection_options(given)
    add("host", metavar="HOST")
    add("id", metavar="ID", type=run_id)
    options = given.parse_args(arguments)
    return run_with_client(options, lambda client: _replayed(client, options))


async def _replayed(client: Client, options: argparse.Namespace) -> int:
    recording = RecordingReader(client, await client.info(options.id))
    with SignalHandler(lambda: interrupts.end()) as interrupts:
        try:
            async with aclosing(recording.events()) as events:
                return await _played(recording, events, options)
        except asyncio.CancelledError:
            if interrupts.ended_by is None:
                raise
            return 128 + interrupts.ended_by


async def _played(
    recording: RecordingReader, events: AsyncGenerator[RecordedEvent], options: argparse.Namespace
) -> int:
    # What is to be said comes before the terminal shows something else: up to the first output.
    begin: list[RecordedEvent] = []
    async for event in events:
        begin.append(event)
        if isinstance(event, GapEvent):
            print_gap(event.gap)
        if isinstance(event, OutputEvent):
            break
    sizes = [WindowSize(columns=event.columns, rows=event.rows) for event in begin if isinstance(event, ResizeEvent)]
    rest = _joined([event for event in begin if isinstance(event, OutputEvent)], events)
    ended = True
    if os.isatty(1):
        ended = await _on_terminal(rest, sizes[-1] if sizes else recording.info.terminal, options)
    else:
        await Player(_Files(), options.speed, options.idle_limit).play(rest)
    if recording.still_running:
        print_message(f"run {recording.info.id} goes on; the recording ends here")
    return 0 if ended else EXIT_INTERRUPTED


async def _on_terminal(
    events: AsyncIterable[RecordedEvent], size: WindowSize | None, options: argparse.Namespace
) -> bool:
    """Return whether it was not interrupted."""
    from farhand_client.recording.playback import TerminalPlayback
    from farhand_client.terminal.local import LocalTerminal

    with LocalTerminal(1) as here:
        own = here.size
        if size is not None and (own.columns < size.columns or own.rows < size.rows):
            print_message(
                f"this was made on a terminal of {size.columns}x{size.rows}, and this one has {own.columns}x{own.rows}:"
                " not all of it is shown as it was"
            )
        stage = TerminalPlayback(here, size, None if os.isatty(2) else descriptor_writer(2))
        interrupted = await stage.play(events, options.speed, options.idle_limit)
    for gap in stage.gaps:
        print_gap(gap)
    return not interrupted


async def _joined(first: list[RecordedEvent], others: AsyncGenerator[RecordedEvent]) -> AsyncGenerator[RecordedEvent]:
    for event in first:
        yield event
    async for event in others:
        yield event


class _Files:
    """A stage: stdout on ours and stderr on ours, neither of them a terminal."""

    def __init__(self) -> None:
        self._writers = {"stdout": descriptor_writer(1), "stderr": descriptor_writer(2)}

    async def write(self, stream: Output, data: bytes) -> None:
        """Stage."""
        try:
            await self._writers[stream].write([data])
        except BrokenPipeError:
            if stream == "stdout":
                raise
        except OSError as error:
            raise LocalError(f"cannot write to {stream}: {error.strerror}") from None

    def set_size(self, columns: int, rows: int) -> None:
        """Stage. A file has no size."""

    def report_gap(self, gap: Gap) -> None:
        """Stage."""
        print_gap(gap)
