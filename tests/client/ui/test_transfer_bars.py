"""What is seen of a transfer on a terminal: judged by a terminal emulator."""

from __future__ import annotations

import asyncio
import fcntl
import io
import os
import struct
import termios
from collections.abc import Iterator
from functools import partial

import pyte
import pytest

from farhand_client.ui.printing import print_usage
from farhand_client.ui.transfer_bars import IDLE_INTERVAL, MAX_BARS, MAX_WAITING, REDRAW_INTERVAL, TransferBars
from farhand_files.events import Begun, Event, Finished, Found, FoundAll, Moved, Trouble
from farhand_files.wire import REGULAR
from tests.support.clock import virtual_time
from tests.support.reference_terminals import Reference

MIB = 1 << 20
DIGEST = b"\1" * 32


class _Stream(io.TextIOWrapper):
    """Keeps what is written to a terminal. The terminal itself, which passes bytes on whenever it likes, only has the
    size."""

    def __init__(self, terminal: int) -> None:
        self.kept = io.BytesIO()
        super().__init__(self.kept, "utf-8")
        self._terminal = terminal

    def fileno(self) -> int:
        return self._terminal

    def isatty(self) -> bool:
        return True


class Seen:
    """A terminal, with what has been written to it on a screen."""

    def __init__(self, columns: int, rows: int = 10) -> None:
        self._ends = os.openpty()
        fcntl.ioctl(self._ends[1], termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
        self.stream = _Stream(self._ends[1])
        self.screen = Reference(columns, rows)
        self.screen.set_mode(pyte.modes.LNM)
        self.written = b""

    @property
    def lines(self) -> list[str]:
        self.read()
        return [line.rstrip() for line in self.screen.display if line.strip()]

    def read(self) -> bytes:
        """Return what was written since the last call."""
        self.stream.flush()
        data = self.stream.kept.getvalue()[len(self.written) :]
        self.screen.feed(data)
        self.written += data
        return data

    def close(self) -> None:
        for end in self._ends:
            os.close(end)


@pytest.fixture
def wide() -> Iterator[Seen]:
    seen = Seen(120)
    yield seen
    seen.close()


@pytest.fixture(autouse=True)
def ordinary_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)


def under_way(*files: tuple[bytes, int, int]) -> list[Event]:
    found: list[Event] = [Found(path, REGULAR, size) for path, size, _ in files]
    return found + [event for path, size, done in files for event in (Begun(path, size, 0), Moved(path, done, done))]


async def show(bars: TransferBars, *events: Event) -> None:
    for event in events:
        bars.note(event)
    await asyncio.sleep(2 * REDRAW_INTERVAL)


@virtual_time
async def test_each_file_under_way_has_a_bar_and_all_of_it_another(wide: Seen) -> None:
    with TransferBars(wide.stream) as bars:
        await show(bars, *under_way((b"a.iso", 10 * MIB, 5 * MIB), (b"d/b.iso", 30 * MIB, 3 * MIB)), FoundAll(2, 0))
        first, second, total = wide.lines
        assert first.split("━")[0].strip() == "a.iso"
        assert first.split()[-2:] == ["50%", "5.0M/10M"]
        assert second.startswith("d/b.iso ")
        assert second.split()[-2:] == ["10%", "3.0M/30M"]
        assert total.startswith("0/2 files ")
        assert total.split("━")[-1].split()[:2] == ["20%", "8.0M/40M"]


@virtual_time
async def test_rate_and_time_left_follow_the_clock_also_while_nothing_arrives(wide: Seen) -> None:
    with TransferBars(wide.stream, asyncio.get_running_loop().time) as bars:
        await show(bars, *under_way((b"a", 100 * MIB, 0)), FoundAll(1, 0))
        await asyncio.sleep(1 - 2 * REDRAW_INTERVAL)
        await show(bars, Moved(b"a", 10 * MIB, MIB))
        assert wide.lines[-1].endswith("s left")
        assert wide.lines[-1].endswith("10M/s, 9.00s left")
        await asyncio.sleep(3 * IDLE_INTERVAL)
        assert wide.lines[-1].endswith("2.5M/s, 36s left"), "a rate that nothing feeds sinks"


@virtual_time
async def test_nothing_is_promised_while_more_is_found_or_sizes_are_unknown(wide: Seen) -> None:
    with TransferBars(wide.stream) as bars:
        await show(bars, *under_way((b"a", 10 * MIB, 5 * MIB)))
        assert wide.lines[-1].startswith("0/1+ files")
        assert "5.0M/10M+" in wide.lines[-1]
        assert "%" not in wide.lines[-1]
        await show(bars, Found(b"-", REGULAR, -1), Begun(b"-", -1, 0), Moved(b"-", MIB, MIB), FoundAll(2, 0))
        pipe, total = wide.lines[-2:]
        assert pipe.split() == ["-", "1.0M"]
        assert "%" not in total
        assert "left" not in total


@virtual_time
@pytest.mark.parametrize("columns", [20, 24, 40, 60, 80, 100, 200])
async def test_every_width_has_a_row_for_each_file(columns: int) -> None:
    seen = Seen(columns, 24)
    name = "é漢字".encode() * 40 + b"/the-end"
    with TransferBars(seen.stream) as bars:
        await show(bars, *under_way((name, 10 * MIB, 5 * MIB), (b"b", 2 * MIB, MIB)), FoundAll(2, 0))
        first, second, total = seen.lines
        assert "the-end" in first, "the end of a path says more than its beginning"
        assert "50%" in first
        assert second.startswith("b ")
        assert total.startswith("0/2 files")
    assert seen.lines == []
    seen.close()


@virtual_time
@pytest.mark.parametrize(("columns", "begin"), [(80, "12345/12345+ "), (120, "12345/12345+ files, 1 failed ")])
async def test_counts_are_shown_whole_rather_than_with_words(columns: int, begin: str) -> None:
    seen = Seen(columns)
    with TransferBars(seen.stream) as bars:
        found = [Found(b"%d" % number, REGULAR, 1) for number in range(12345)]
        await show(bars, *found, *(Finished(event.path, 1, 1, 0, DIGEST) for event in found))
        await show(bars, Trouble(b"x", 13, "permission denied", False))
        assert seen.lines[-1].startswith(begin)
    seen.close()


@virtual_time
async def test_small_files_have_no_bars_and_large_ones_only_so_many(wide: Seen) -> None:
    with TransferBars(wide.stream) as bars:
        await show(bars, *under_way(*((b"s%d" % number, 4096, 0) for number in range(50))))
        assert len(wide.lines) == 1
        await show(bars, *under_way(*((b"l%d" % number, MIB, 0) for number in range(50))))
        assert len(wide.lines) == MAX_BARS + 1


@virtual_time
async def test_a_name_cannot_control_the_terminal(wide: Seen) -> None:
    with TransferBars(wide.stream) as bars:
        await show(bars, *under_way((b"[red]\x1b[2J\xff\n:smile:", 10 * MIB, 0)))
        assert wide.lines[0].startswith(r"[red]\x1b[2J\xff\n:smile: ")
    assert b"\x1b[2J" not in wide.written


@virtual_time
async def test_redraws_are_bounded_however_many_events_come(wide: Seen) -> None:
    loop = asyncio.get_running_loop()
    with TransferBars(wide.stream, loop.time) as bars:
        before = loop.time()
        for number in range(5000):
            bars.note(Found(b"%d" % number, REGULAR, 1))
            bars.note(Finished(b"%d" % number, 1, 1, 0, DIGEST))
            if number % 50 == 0:
                await asyncio.sleep(0.01)
        redraws = wide.read().count(b" files")
        assert redraws <= (loop.time() - before) / REDRAW_INTERVAL + 2


@virtual_time
async def test_lines_appear_above_the_bars_and_stay(wide: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", wide.stream)
    with TransferBars(wide.stream) as bars:
        bars.write_above(partial(print_usage, "first"))
        await show(bars, *under_way((b"a", 10 * MIB, 0)))
        bars.show_notice("connection to web lost")
        assert wide.lines[:2] == ["first", "farhand: connection to web lost"]
        assert wide.lines[2].startswith("a ")
        for number in range(MAX_WAITING):
            bars.write_above(partial(print_usage, f"line {number}"))
        assert f"line {MAX_WAITING - 1}" in wide.lines, "they do not pile up"
        bars.write_above(partial(print_usage, "last"))
    assert wide.lines[-1] == "last"


@virtual_time
async def test_colours_are_left_out_on_request(wide: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with TransferBars(wide.stream) as bars:
        await show(bars, *under_way((b"a", 10 * MIB, 5 * MIB)))
    assert b"\x1b[3" not in wide.written


@virtual_time
async def test_the_terminal_is_as_before_after_any_end(wide: Seen) -> None:
    async def interrupted() -> None:
        with TransferBars(wide.stream) as bars:
            await show(bars, *under_way((b"a", 10 * MIB, 5 * MIB)))
            assert b"\x1b[?25l" not in wide.read(), "a process that is killed could not show the cursor again"
            raise KeyboardInterrupt

    before = wide.screen.state
    with pytest.raises(KeyboardInterrupt):
        await interrupted()
    assert wide.lines == []
    assert wide.screen.state == before
