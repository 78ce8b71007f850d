"""A run's terminal is as small as the smallest that shows it, and its program hears of it as often as it changes."""

from __future__ import annotations

import asyncio
import os

import pytest

from farhand_server.runs.attachments.terminal import SharedTerminalSize
from farhand_server.runs.plan import TerminalSize

from ..ptys import on_terminal, opened

TRAPPING = "trap 'echo changed: $(stty size)' WINCH; echo ready; while :; do read -r line && echo read: $line; done"


class Shown:
    """A screen, and those that show it; `told` are the sizes that listeners have heard of."""

    def __init__(self, *sizes: TerminalSize) -> None:
        self.sizes = list(sizes)
        self.screen = SharedTerminalSize(TerminalSize(80, 24), lambda: self.sizes)
        self.told: list[TerminalSize] = []
        self.screen.listeners.append(lambda: self.told.append(self.screen.size))


async def turn() -> None:
    """Let what is due in this turn of the loop happen."""
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("sizes", "smallest"),
    [
        ([], TerminalSize(80, 24)),
        ([TerminalSize(100, 50)], TerminalSize(100, 50)),
        ([TerminalSize(100, 20), TerminalSize(40, 50)], TerminalSize(40, 20)),
        ([TerminalSize(0, 20), TerminalSize(40, 0)], TerminalSize(40, 20)),
        ([TerminalSize(0, 0)], TerminalSize(80, 24)),
        ([TerminalSize(1, 1), TerminalSize(500, 300)], TerminalSize(1, 1)),
    ],
)
async def test_the_smallest_wins_and_what_is_unknown_does_not_count(
    sizes: list[TerminalSize], smallest: TerminalSize
) -> None:
    shown = Shown(*sizes)
    shown.screen.apply()
    assert shown.screen.size == smallest


async def test_only_the_last_of_many_changes_in_one_turn_counts() -> None:
    shown = Shown()
    for columns in range(1, 100):
        shown.sizes = [TerminalSize(columns, 24)]
        shown.screen.changed()
    assert shown.told == []
    await turn()
    assert shown.told == [TerminalSize(99, 24)]


async def test_nobody_is_notified_of_an_unchanged_size() -> None:
    shown = Shown(TerminalSize(80, 24))
    shown.screen.changed()
    await turn()
    assert shown.told == []


async def test_the_size_does_not_change_when_the_last_client_detaches() -> None:
    shown = Shown(TerminalSize(40, 10))
    shown.screen.apply()
    shown.sizes = []
    shown.screen.changed()
    await turn()
    assert shown.told == [TerminalSize(40, 10)]


async def test_the_size_does_not_change_after_the_program_has_ended() -> None:
    shown = Shown(TerminalSize(40, 10))
    shown.screen.changed()
    shown.screen.disconnect()
    await turn()
    shown.screen.changed()
    await turn()
    assert (shown.screen.size, shown.told) == (TerminalSize(80, 24), [])


async def test_the_program_is_notified_once_of_a_new_size_and_of_a_new_client() -> None:
    shown = Shown(TerminalSize(80, 24))
    with on_terminal("sh", "-c", TRAPPING, terminal=opened(size=TerminalSize(80, 24))) as program:
        await program.says(b"ready")
        shown.screen.connect(program.terminal)
        shown.screen.changed(repaint=True)
        await program.says(b"changed: 24 80")
        os.write(program.terminal.master, b"drawn\n")
        await program.says(b"read: drawn")  # it may have taken it for two changes
        shown.sizes = [TerminalSize(60, 20)]
        shown.screen.changed(repaint=True)
        await program.says(b"changed: 20 60")
        shown.screen.changed()
        await turn()
        os.write(program.terminal.master, b"done\n")
        heard = await program.says(rb"(?s)(.*)read: done")
        assert b"changed" not in heard[1]
        assert program.terminal.size == TerminalSize(60, 20)
