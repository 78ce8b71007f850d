"""Output reaches the terminal at its pace, complete and in order, and never blocks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from farhand_client.terminal.local import LocalTerminal, TerminalOutput
from farhand_protocol.limits import KiB
from tests.support.ptys import Pty, terminal


@pytest.fixture
async def pty() -> AsyncIterator[Pty]:
    async with terminal() as made:
        yield made


def never() -> None:
    raise AssertionError


async def test_output_that_the_terminal_accepts_is_written_at_once(pty: Pty) -> None:
    with LocalTerminal(pty.slave) as local, local.raw():
        output = TerminalOutput(local, never, never)
        output.write(bytes(range(256)))
        assert output.idle
        await pty.shows(bytes(range(256)))


async def test_the_rest_is_written_later_and_then_ready_is_called(pty: Pty) -> None:
    pty.read_output(False)
    data = bytes(range(256)) * 2 * KiB
    ready = asyncio.Event()
    with LocalTerminal(pty.slave) as local, local.raw():
        output = TerminalOutput(local, ready.set, never)
        output.write(data)
        assert not output.idle
        assert not ready.is_set()
        pty.read_output()
        await ready.wait()
        output.write(b"end")
        assert await pty.shows(b"end") == data


async def test_unwritten_data_can_be_discarded(pty: Pty) -> None:
    pty.read_output(False)
    with LocalTerminal(pty.slave) as local, local.raw():
        output = TerminalOutput(local, never, never)
        assert not output.discard()
        output.write(bytes(256 * KiB))
        assert output.discard()
        assert output.idle
        pty.read_output()
        output.write(b"end")
        assert len(await pty.shows(b"end")) < 256 * KiB


async def test_writing_to_a_closed_terminal_is_reported(pty: Pty) -> None:
    gone = asyncio.Event()
    pty.read_output(False)
    with LocalTerminal(pty.slave) as local, local.raw():
        output = TerminalOutput(local, lambda: None, gone.set)
        output.write(bytes(256 * KiB))
        pty.hang_up()
        await gone.wait()
