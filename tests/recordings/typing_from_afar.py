"""Records how typing into a shell looks on a slow connection, with and without predicted echo.

    python -m tests.recordings.typing_from_afar [--round-trip MS] DIRECTORY

writes `predicted.cast` and `plain.cast` (asciicast v2, for asciinema's players) to DIRECTORY, and prints how long it
took from each key until its character was on the screen, as pyte judges.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from farhand_client.config import PredictMode
from farhand_client.recording.asciicast import AsciicastEncoder, asciicast_header
from farhand_client.recording.events import OutputEvent
from tests.support.command import FARHAND
from tests.support.ptys import Pty, terminal
from tests.support.reference_terminals import Reference
from tests.support.service import running_service
from tests.support.unix_proxy import UnixProxy

COLUMNS: Final = 80
ROWS: Final = 24
PROMPT: Final = "there$ "

LINES: Final = (
    ("ls -l /etc/hosts /etc/hostname", PROMPT),
    ("echo a lime\x7f\x7fne typed with a mistake", PROMPT),
    ("ls -l /etc/hosts | wc -c", PROMPT),
    ("read -s -p 'Password: ' secret", "Password: "),
    ("hunter2", PROMPT),
    ("exit", ""),
)
"""What is typed, and the text at which the next line is typed."""

KEY_INTERVAL: Final = 0.11
"""Seconds between two keys: 110 words a minute."""


class SlowProxy(UnixProxy):
    """Delivers every byte `delay` seconds late."""

    delay = 0.0

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(1 << 16):
            loop.call_later(self.delay, writer.write, data)


class Watched:
    """The user's terminal: records what appears, and when each key's character does."""

    def __init__(self, pty: Pty) -> None:
        self._pty = pty
        self._loop = asyncio.get_running_loop()
        self._begin = self._loop.time()
        self._screen = Reference(COLUMNS, ROWS)
        self._waiting: deque[tuple[float, str]] = deque()
        self._changed = asyncio.Event()
        self.events: list[OutputEvent] = []
        self.latencies: list[float] = []

    async def watch(self) -> None:
        """Follow the terminal until cancelled."""
        while True:
            await self._pty.changes()
            data, self._pty.shown = self._pty.shown, b""
            now = self._loop.time()
            self.events.append(OutputEvent(now - self._begin, "stdout", data))
            self._screen.feed(data)
            while self._waiting and self.row.startswith(self._waiting[0][1]):
                self.latencies.append(now - self._waiting.popleft()[0])
            self._changed.set()

    async def until_at(self, text: str) -> None:
        """Wait until the cursor is behind `text`."""
        while not (self.row.endswith(text) and self._screen.cursor.x >= len(text)):
            self._changed.clear()
            await self._changed.wait()

    @property
    def row(self) -> str:
        """The cursor's row up to the cursor."""
        return self._screen.display[self._screen.cursor.y][: self._screen.cursor.x]

    def press(self, key: str, expected: str | None) -> None:
        """Type a key, after which the cursor's row begins with `expected`."""
        if expected is not None:
            self._waiting.append((self._loop.time(), expected))
        self._pty.type(key.encode())


async def record(directory: Path, round_trip: float, predict: PredictMode) -> Watched:
    """Type all lines and return what was seen."""
    chance = random.Random(1)
    async with slow_service(directory, round_trip) as (host, env), terminal(COLUMNS, ROWS) as pty:
        options = ("--predict", predict, "-e", f"PS1={PROMPT}", "-e", "HISTFILE=")
        command = (*FARHAND, "run", "-t", *options, host, "--", "bash", "--norc", "--noprofile", "-i")
        async with pty.running(*command, env=env) as process:
            seen = Watched(pty)
            watching = asyncio.ensure_future(seen.watch())
            try:
                at = PROMPT
                for line, following in LINES:
                    await seen.until_at(at)
                    await asyncio.sleep(1.0)
                    shown = at
                    for key in line:
                        shown = shown[:-1] if key == "\x7f" else shown + key
                        seen.press(key, shown if at == PROMPT and key != "\x7f" else None)
                        await asyncio.sleep(KEY_INTERVAL * chance.uniform(0.6, 1.4))
                    seen.press("\r", None)
                    at = following
                await process.wait()
            finally:
                watching.cancel()
            return seen


@asynccontextmanager
async def slow_service(directory: Path, round_trip: float) -> AsyncIterator[tuple[str, dict[str, str]]]:
    """Run a service behind a proxy with this round trip; yield its HOST and the environment of its clients."""
    async with running_service(directory) as service:
        proxy = SlowProxy(directory / "slow", service.socket)
        proxy.delay = round_trip / 2
        await proxy.restore()
        try:
            yield proxy.host, service.environment | {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
        finally:
            await proxy.cut()


def main() -> None:
    """Record both and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.recordings.typing_from_afar", description=__doc__)
    parser.add_argument("--round-trip", metavar="MS", type=float, default=200.0)
    parser.add_argument("directory", type=Path)
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    print("| | keys | median | 90 of 100 | longest | within 20 ms |\n| --- | --- | --- | --- | --- | --- |")
    modes: tuple[tuple[str, PredictMode], ...] = (("predicted", "auto"), ("plain", "never"))
    for name, predict in modes:
        with tempfile.TemporaryDirectory(prefix="fh-") as directory:
            seen = asyncio.run(record(Path(directory), options.round_trip / 1000, predict))
        encoder = AsciicastEncoder(translate_newlines=False)
        lines = [asciicast_header(COLUMNS, ROWS, title=f"{name}, round trip {options.round_trip:g} ms")]
        lines += [encoder.encode(event) for event in seen.events]
        (options.directory / f"{name}.cast").write_text("".join(lines))
        times = sorted(1000 * seconds for seconds in seen.latencies)
        quick = sum(time <= 20 for time in times)
        figures = (statistics.median(times), times[len(times) * 9 // 10], times[-1])
        print(f"| {name} | {len(times)} | {' | '.join(f'{each:.1f} ms' for each in figures)} | {quick} |")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
