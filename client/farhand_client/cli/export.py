"""`farhand export`: what a run has written, and when, as a file for asciinema's players."""

from __future__ import annotations

import argparse
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

from farhand_client.client import Client
from farhand_client.recording.asciicast import AsciicastEncoder, asciicast_header
from farhand_client.recording.events import GapEvent, OutputEvent, RecordedEvent, RecordingReader, ResizeEvent
from farhand_client.ui.printing import print_gap, print_message

from .connection import run_with_client
from .destination import Destination
from .options import add_connection_options, add_reconnect, command_parser
from .values import run_id

EPILOG = """\
FILE is replaced as a whole, once everything is there; - is stdout. Only you may read a new one: it holds all that was
shown. Bytes that are not UTF-8 become U+FFFD; farhand logs gives them as they are. What was typed is in there where the
run records that. Output that is no longer kept is said on stderr, and a marker stands in its place. Of a run that goes
on, FILE has what has come until now. Exit code: 0 once it is written.
"""

WITHOUT_TERMINAL: Final = (80, 24)
"""Columns and rows that a player is to have where the run had no terminal."""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    given = command_parser("export", "HOST ID", "Write to a file what a run has written, and when.", EPILOG)
    add = given.add_argument
    add("--asciicast", metavar="FILE", required=True, help="write asciicast v2, which asciinema plays")
    add("--title", metavar="TEXT", help="what players call it")
    add_reconnect(given)
    add_connection_options(given)
    add("host", metavar="HOST")
    add("id", metavar="ID", type=run_id)
    options = given.parse_args(arguments)
    return run_with_client(options, lambda client: _exported(client, options))


async def _exported(client: Client, options: argparse.Namespace) -> int:
    recording = RecordingReader(client, await client.info(options.id))
    with Destination(options.asciicast) as file:
        async with aclosing(recording.events()) as events, aclosing(_lines(recording, events, options.title)) as lines:
            async for text in lines:
                await file.write(text.encode())
        await file.keep()
    if recording.still_running:
        print_message(f"run {recording.info.id} goes on; the recording ends here")
    return 0


async def _lines(
    recording: RecordingReader, events: AsyncGenerator[RecordedEvent], title: str | None
) -> AsyncGenerator[str]:
    info = recording.info
    cast = AsciicastEncoder(translate_newlines=info.terminal is None)
    # The header says how large the terminal was when it showed something, and when that was.
    size = WITHOUT_TERMINAL if info.terminal is None else (info.terminal.columns, info.terminal.rows)
    waiting: list[RecordedEvent] | None = []
    at = 0.0

    def begin() -> str:
        began, over = info.began + recording.origin, info.outcome is not None
        duration = round(max(at, info.duration - recording.origin), 3) if over else None
        return asciicast_header(*size, timestamp=int(began), duration=duration, command=info.command, title=title)

    async for event in events:
        at = event.at
        if isinstance(event, GapEvent):
            print_gap(event.gap)
        if waiting is None:
            yield cast.encode(event)
        elif isinstance(event, ResizeEvent):
            size = (event.columns, event.rows)
        else:
            waiting.append(event)
            if isinstance(event, OutputEvent):
                yield begin() + "".join(map(cast.encode, waiting))
                waiting = None
    if waiting is not None:
        yield begin() + "".join(map(cast.encode, waiting))
    yield cast.finish(at)
