"""`farhand replay`: plays back a run's output at its original pace."""

from __future__ import annotations

import argparse
import asyncio
import math
import os
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from contextlib import aclosing
from typing import Final

from farhand_client.client import Client
from farhand_client.descriptors import descriptor_writer
from farhand_client.output import Gap, Output
from farhand_client.recording.events import GapEvent, OutputEvent, RecordedEvent, RecordingReader, ResizeEvent
from farhand_client.recording.player import Player
from farhand_client.ui.exitcodes import EXIT_INTERRUPTED
from farhand_client.ui.interrupts import SignalHandler
from farhand_client.ui.printing import LocalError, print_gap, print_message, reason, require_stdout
from farhand_protocol.messages.terminal import WindowSize

from .connection import run_with_client, run_with_output
from .default_host import parse_with_host
from .options import add_connection_options, add_host, add_reconnect, add_run_id, command_parser
from .values import duration, speed

_EPILOG: Final = """\
A run on a terminal is shown on yours, which should be as large as that one was. Space pauses and resumes; Ctrl-C and
q stop, and the terminal is restored. For a run without a terminal, stdout goes to stdout and stderr to stderr. Bytes
that are no longer kept are reported on stderr and take no time. If the run is still running, the output so far is
played.

Exit code: 0 at the end and after q; 130 after Ctrl-C.
"""


def replay_command(arguments: Sequence[str]) -> int:
    """Run `farhand replay` and return the exit code."""
    parser = command_parser("replay", "[HOST] ID", "Play back a run's output at its original pace.", _EPILOG)
    add = parser.add_argument
    add("--speed", metavar="N", type=speed, default=1.0, help="play N times as fast (2, 0.5; default 1)")
    add(
        "--idle-limit",
        metavar="TIME",
        type=duration,
        default=math.inf,
        help="shorten longer pauses to TIME",
    )
    add_reconnect(parser)
    add_connection_options(parser)
    add_host(parser)
    add_run_id(parser)
    options = parse_with_host(parser, arguments)
    return run_with_client(options, lambda client: _replay(client, options))


async def _replay(client: Client, options: argparse.Namespace) -> int:
    require_stdout("the output of the run would be lost")
    recording = RecordingReader(client, await run_with_output(client, options.id))
    with SignalHandler(lambda: signals.end()) as signals:
        try:
            async with aclosing(recording.events()) as events:
                return await _play(recording, events, options)
        except asyncio.CancelledError:
            if signals.ended_by is None:
                raise
            return 128 + signals.ended_by


async def _play(recording: RecordingReader, events: AsyncGenerator[RecordedEvent], options: argparse.Namespace) -> int:
    # Messages must come before the terminal shows the recording: everything up to the first output.
    begin: list[RecordedEvent] = []
    async for event in events:
        begin.append(event)
        if isinstance(event, GapEvent):
            print_gap(event.gap)
        if isinstance(event, OutputEvent):
            break
    sizes = [WindowSize(columns=event.columns, rows=event.rows) for event in begin if isinstance(event, ResizeEvent)]
    rest = _chain([event for event in begin if isinstance(event, OutputEvent)], events)
    ended = True
    if os.isatty(1):
        ended = await _on_terminal(rest, sizes[-1] if sizes else recording.info.terminal, options)
    else:
        await Player(_StreamPlayback(), options.speed, options.idle_limit).play(rest)
    if recording.still_running:
        print_message(f"run {recording.info.id} is still running; the recording ends here")
    return 0 if ended else EXIT_INTERRUPTED


async def _on_terminal(
    events: AsyncIterable[RecordedEvent], size: WindowSize | None, options: argparse.Namespace
) -> bool:
    """Play `events` on the terminal; return False if the user interrupted them."""
    from farhand_client.recording.playback import TerminalPlayback
    from farhand_client.terminal.local import LocalTerminal

    with LocalTerminal(1) as here:
        own = here.size
        if size is not None and (own.columns < size.columns or own.rows < size.rows):
            print_message(
                f"this was recorded on a terminal of {size.columns}x{size.rows}, but this one has "
                f"{own.columns}x{own.rows}: some of it will look different"
            )
        stage = TerminalPlayback(here, size, None if os.isatty(2) else descriptor_writer(2))
        interrupted = await stage.play(events, options.speed, options.idle_limit)
    for gap in stage.gaps:
        print_gap(gap)
    return not interrupted


async def _chain(first: list[RecordedEvent], others: AsyncGenerator[RecordedEvent]) -> AsyncGenerator[RecordedEvent]:
    for event in first:
        yield event
    async for event in others:
        yield event


class _StreamPlayback:
    """Plays stdout on stdout and stderr on stderr, neither of them a terminal. Implements `PlaybackTarget`."""

    def __init__(self) -> None:
        self._writers = {"stdout": descriptor_writer(1), "stderr": descriptor_writer(2)}

    async def write(self, stream: Output, data: bytes) -> None:
        try:
            await self._writers[stream].write([data])
        except BrokenPipeError:
            if stream == "stdout":
                raise
        except OSError as error:
            raise LocalError(f"cannot write to {stream}: {reason(error)}") from None

    def set_size(self, columns: int, rows: int) -> None:
        """Do nothing: a file has no size."""

    def report_gap(self, gap: Gap) -> None:
        print_gap(gap)
