"""A run's terminal is as small as the smallest client terminal showing it; its program is notified of every change."""

from __future__ import annotations

import asyncio
import os

import pytest

from farhand_server.runs.attachments.terminal import SharedTerminalSize
from farhand_server.runs.plan import TerminalSize
from tests.support.shown_sizes import SHOWS_SIZE

from ..ptys import on_terminal, opened


class SharedScreen:
    """A shared size, the sizes of the clients that show it, and `notified`, the sizes that its listeners received."""

    def __init__(self, *sizes: TerminalSize) -> None:
        self.sizes = list(sizes)
        self.screen = SharedTerminalSize(TerminalSize(80, 24), lambda: self.sizes)
        self.notified: list[TerminalSize] = []
        self.screen.listeners.append(lambda: self.notified.append(self.screen.size))


async def turn() -> None:
    """Let one iteration of the event loop pass."""
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
async def test_the_smallest_size_wins_and_unknown_sizes_do_not_count(
    sizes: list[TerminalSize], smallest: TerminalSize
) -> None:
    shown = SharedScreen(*sizes)
    shown.screen.apply()
    assert shown.screen.size == smallest


async def test_only_the_last_of_many_changes_in_one_turn_counts() -> None:
    shown = SharedScreen()
    for columns in range(1, 100):
        shown.sizes = [TerminalSize(columns, 24)]
        shown.screen.changed()
    assert shown.notified == []
    await turn()
    assert shown.notified == [TerminalSize(99, 24)]


async def test_an_unchanged_size_is_not_reported() -> None:
    shown = SharedScreen(TerminalSize(80, 24))
    shown.screen.changed()
    await turn()
    assert shown.notified == []


async def test_the_size_does_not_change_when_the_last_client_detaches() -> None:
    shown = SharedScreen(TerminalSize(40, 10))
    shown.screen.apply()
    shown.sizes = []
    shown.screen.changed()
    await turn()
    assert shown.notified == [TerminalSize(40, 10)]


async def test_the_size_does_not_change_after_the_program_has_ended() -> None:
    shown = SharedScreen(TerminalSize(40, 10))
    shown.screen.changed()
    shown.screen.disconnect()
    await turn()
    shown.screen.changed()
    await turn()
    assert (shown.screen.size, shown.notified) == (TerminalSize(80, 24), [])


async def test_the_program_is_notified_once_of_a_new_size_and_of_a_new_client() -> None:
    shown = SharedScreen(TerminalSize(80, 24))
    with on_terminal(*SHOWS_SIZE, terminal=opened(size=TerminalSize(80, 24))) as program:
        await program.says(b"ready")
        shown.screen.connect(program.terminal)
        shown.screen.changed(repaint=True)
        await program.says(b"changed: 24 80")
        os.write(program.terminal.master, b"drawn\n")
        await program.says(b"read: drawn")  # it may have received two WINCH
        shown.sizes = [TerminalSize(60, 20)]
        shown.screen.changed(repaint=True)
        await program.says(b"changed: 20 60")
        shown.screen.changed()
        await turn()
        os.write(program.terminal.master, b"done\n")
        output = await program.says(rb"(?s)(.*)read: done")
        assert b"changed" not in output[1]
        assert program.terminal.size == TerminalSize(60, 20)
