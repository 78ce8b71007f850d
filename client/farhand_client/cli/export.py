"""`farhand export`: saves a run's output, with its timing, as a file for asciinema's players."""

from __future__ import annotations

import argparse
import os
import stat
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from farhand_client.client import Client
from farhand_client.descriptors import descriptor_writer
from farhand_client.recording.asciicast import AsciicastEncoder, asciicast_header
from farhand_client.recording.events import GapEvent, OutputEvent, RecordedEvent, RecordingReader, ResizeEvent
from farhand_client.ui.printing import LocalError, print_gap, print_message, reason, require_stdout
from farhand_protocol.limits import KiB

from .connection import run_with_client, run_with_output
from .default_host import parse_with_host
from .options import add_connection_options, add_host, add_reconnect, add_run_id, command_parser

_EPILOG: Final = """\
FILE is replaced only after everything was received; - is stdout. A new file can be read by you alone, since it
contains everything that was shown. Typed input is included if it was recorded.

Bytes that are not UTF-8 become U+FFFD; farhand logs prints them unchanged. Output that is no longer kept is reported on
stderr and marked in the file. If the run is still running, FILE contains the output so far.

Exit code: 0 if the file was written.
"""

_SIZE_WITHOUT_TERMINAL: Final = (80, 24)
"""Columns and rows to announce to the player if the run had no terminal."""

_STDOUT: Final = "-"

_WRITE_SIZE: Final = 64 * KiB
"""Bytes to collect before each write."""


def export_command(arguments: Sequence[str]) -> int:
    """Run `farhand export` and return the exit code."""
    parser = command_parser("export", "[HOST] ID", "Save a run's output, with its timing, to a file.", _EPILOG)
    add = parser.add_argument
    add("--asciicast", metavar="FILE", required=True, help="write asciicast v2, the format of asciinema")
    add("--title", metavar="TEXT", help="title that players show")
    add_reconnect(parser)
    add_connection_options(parser)
    add_host(parser)
    add_run_id(parser)
    options = parse_with_host(parser, arguments)
    return run_with_client(options, lambda client: _export(client, options))


class ExportFile:
    """While entered, collects the contents of the file `path`, or of stdout if that is `-`.

    A regular file is replaced as a whole by `commit`, and otherwise left unchanged; a new one can be read by this user
    only, an existing one keeps its permissions. Anything else (a pipe, a device) is written to as data comes. Raises
    `LocalError`, and BrokenPipeError if nobody reads.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._new: Path | None = None
        self._buffer = bytearray()

    async def write(self, data: bytes) -> None:
        """Append `data`."""
        self._buffer += data
        if len(self._buffer) >= _WRITE_SIZE:
            await self._flush()

    async def commit(self) -> None:
        """Write what is left and, if it is a regular file, replace it."""
        await self._flush()
        if self._new is not None:
            try:
                self._new.replace(Path(self._path).resolve())
            except OSError as error:
                raise self._error(error) from None
            self._new = None

    def __enter__(self) -> Self:
        try:
            self._fd = self._open()
        except OSError as error:
            raise self._error(error) from None
        self._writer = descriptor_writer(self._fd)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._path != _STDOUT:
            os.close(self._fd)
        if self._new is not None:
            self._new.unlink(missing_ok=True)

    def _open(self) -> int:
        if self._path == _STDOUT:
            require_stdout("the recording would be lost")
            return 1
        target = Path(self._path).resolve()
        mode = target.stat().st_mode if target.exists() else None
        if mode is not None and not stat.S_ISREG(mode):
            return os.open(target, os.O_WRONLY | os.O_CLOEXEC)
        fd, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        self._new = Path(name)
        if mode is not None:
            os.fchmod(fd, stat.S_IMODE(mode))
        return fd

    async def _flush(self) -> None:
        data, self._buffer = bytes(self._buffer), bytearray()
        try:
            await self._writer.write([data])
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._error(error) from None

    def _error(self, error: OSError) -> LocalError:
        where = "stdout" if self._path == _STDOUT else self._path
        return LocalError(f"cannot write {where}: {reason(error)}")


async def _export(client: Client, options: argparse.Namespace) -> int:
    recording = RecordingReader(client, await run_with_output(client, options.id))
    with ExportFile(options.asciicast) as file:
        async with aclosing(recording.events()) as events, aclosing(_encode(recording, events, options.title)) as lines:
            async for text in lines:
                await file.write(text.encode())
        await file.commit()
    if recording.still_running:
        print_message(f"run {recording.info.id} is still running; the recording ends here")
    return 0


async def _encode(
    recording: RecordingReader, events: AsyncGenerator[RecordedEvent], title: str | None
) -> AsyncGenerator[str]:
    """Yield the lines of the file."""
    info = recording.info
    encoder = AsciicastEncoder(translate_newlines=info.terminal is None)
    # The header comes first, but contains the terminal's size at the first output: keep earlier events until then.
    size = _SIZE_WITHOUT_TERMINAL if info.terminal is None else (info.terminal.columns, info.terminal.rows)
    held: list[RecordedEvent] | None = []
    at = 0.0

    def header() -> str:
        began, over = info.began + recording.origin, info.outcome is not None
        duration = round(max(at, info.duration - recording.origin), 3) if over else None
        return asciicast_header(*size, timestamp=int(began), duration=duration, command=info.command, title=title)

    async for event in events:
        at = event.at
        if isinstance(event, GapEvent):
            print_gap(event.gap)
        if held is None:
            yield encoder.encode(event)
        elif isinstance(event, ResizeEvent):
            size = (event.columns, event.rows)
        else:
            held.append(event)
            if isinstance(event, OutputEvent):
                yield header() + "".join(map(encoder.encode, held))
                held = None
    if held is not None:
        yield header() + "".join(map(encoder.encode, held))
    yield encoder.finish(at)
