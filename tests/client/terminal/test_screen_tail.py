"""The visible screen is computed from as little output as determines it: history costs nothing and changes nothing."""

from __future__ import annotations

import pytest

from farhand_client.terminal.emulator import Emulator
from farhand_client.terminal.painting import paint_screen
from farhand_client.terminal.screen import ScreenTracker
from farhand_client.terminal.settings import TerminalSettings

COLUMNS, ROWS = 40, 10

PROMPT = b"\x1b[?2004h\x1b]0;me: ~\x07\x1b[01;32mme\x1b[00m:~# "

FLOOD = b"".join(b"%d\r\n" % number for number in range(20_000))

LISTING = b"".join(b"\x1b[3%dmsome %d\x1b[m\tmore\r\n" % (number % 8, number) for number in range(30))

EDITOR = b"\x1b[?1049h\x1b[?1h\x1b=\x1b[H\x1b[2J" + b"".join(b"\x1b[%d;1Hrow %d" % (row, row) for row in range(1, 11))

AFTER_A_FLOOD = {
    "nothing": b"",
    "a prompt": b"^C\r\n" + PROMPT,
    "an edited line": PROMPT + b"echo abc\x1b[C\x1b[1@x\x1b[2P\b\b\x1b[K!",
    "some commands": 5 * (PROMPT + b"ls\r\n\x1b[?2004l\r" + LISTING[:200] + b"\x1b[m\r\n"),
    "a cleared screen": b"\x1b[H\x1b[2J\x1b[3J" + PROMPT,
    "an editor": PROMPT + EDITOR,
    "an editor that has exited": PROMPT + EDITOR + b"\x1b[?1049l\x1b[?1l\x1b>" + PROMPT,
    "half a sequence": PROMPT + b"\x1b[3",
    "a cursor that is saved and restored": PROMPT + b"\x1b7\x1b[2;2Hx\x1b8y",
    "a region": b"\x1b[3;6r\x1b[6;1H" + b"in the region\r\n" * 20,
    "a region that was reset": b"\x1b[3;6r\x1b[6;1H" + b"in the region\r\n" * 20 + b"\x1b[r" + b"and not\r\n" * 3,
    "a picture": PROMPT + b"\x1bPq" + b"#0!5~\r\n" * 30 + b"\x1b\\" + PROMPT,
}

NOT_AFTER_A_FLOOD = {
    "few rows": LISTING[:100] + PROMPT,
    "rows on the alternate screen": PROMPT + EDITOR + b"row by row\r\n" * 30,
    "rows over older ones": LISTING + b"\x1b[H" + b"row\r\n" * (ROWS + 5),
    "a cursor saved before": b"\x1b[4;4H\x1b7" + FLOOD[:5000] + b"\x1b8here",
}


def fed(data: bytes) -> ScreenTracker:
    """Return a screen that was fed in small chunks."""
    screen = ScreenTracker(COLUMNS, ROWS)
    for at in range(0, len(data), 1000):
        screen.feed(data[at : at + 1000])
    return screen


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the sizes of the output that is emulated."""
    counts: list[int] = []
    feed = Emulator.feed

    def counting(self: Emulator, data: bytes) -> None:
        counts.append(len(data))
        feed(self, data)

    monkeypatch.setattr(Emulator, "feed", counting)
    return counts


@pytest.mark.parametrize("name", AFTER_A_FLOOD)
def test_after_a_flood_only_later_output_is_emulated(name: str, emulated: list[int]) -> None:
    data = LISTING + FLOOD + AFTER_A_FLOOD[name]
    shown = paint_screen(fed(data).emulator, ROWS)
    assert sum(emulated) < 3000
    everything = Emulator(COLUMNS, ROWS, TerminalSettings())
    everything.feed(data)
    assert shown == paint_screen(everything, ROWS)


@pytest.mark.parametrize("name", NOT_AFTER_A_FLOOD)
def test_output_that_matters_is_emulated_however_old_it_is(name: str) -> None:
    everything = Emulator(COLUMNS, ROWS, TerminalSettings())
    everything.feed(NOT_AFTER_A_FLOOD[name])
    assert paint_screen(fed(NOT_AFTER_A_FLOOD[name]).emulator, ROWS) == paint_screen(everything, ROWS)
