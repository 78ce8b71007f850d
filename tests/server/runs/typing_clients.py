"""What tests of a terminal's input share: clients that type, and what a program could read."""

from __future__ import annotations

import asyncio
import os

from farhand_server.runs.attachments.attachments import Attachment
from farhand_server.runs.attachments.terminal import TerminalAttachments
from farhand_server.runs.output.filespool import FileSpool
from farhand_server.runs.output.spool import SpoolMemory
from farhand_server.runs.plan import TerminalSize
from farhand_server.runs.streams.pty import PseudoTerminal
from farhand_server.runs.streams.terminal_input import TerminalInput

from .attachments.test_attachments import Client

KEY, OTHER = b"k" * 16, b"o" * 16
LINES = b"a line of a long paste\n" * 50_000


class Counting(Client):
    """A client that counts its notifications that input was taken."""

    def __init__(self) -> None:
        super().__init__()
        self.notifications = 0

    def stdin_taken(self) -> None:
        self.notifications += 1


class Typing:
    """A run's terminal input and its attachments."""

    def __init__(self, spool: FileSpool) -> None:
        self.all = TerminalAttachments(spool, TerminalSize(80, 24), 60.0, lambda: None)
        self.memory = SpoolMemory(1 << 20)
        self.recorded = b""
        self.input = TerminalInput(self.all, self.memory, self._record)

    def _record(self, data: bytes) -> None:
        self.recorded += data

    def attach(self, at: int = 0, key: bytes = KEY, *, share: bool = False) -> Attachment:
        """Attach a client whose input starts at offset `at`."""
        assert self.input.refusal(key, at) is None
        return self.all.add(Counting(), key=key, hold=True, taken={}, feeds=at, share=share)

    def type(self, attachment: Attachment, data: bytes) -> None:
        """Type `data` in chunks as large as those of a connection."""
        for begin in range(0, len(data), 1 << 16):
            self.input.write(attachment, data[begin : begin + (1 << 16)])


def readable(terminal: PseudoTerminal) -> bytes:
    """Return what a program could read from the terminal now."""
    os.set_blocking(terminal.slave, False)
    data = b""
    while terminal.unread():
        data += os.read(terminal.slave, 1 << 16)
    return data


async def turns() -> None:
    """Let the event loop poll its descriptors a few times."""
    for _ in range(5):
        await asyncio.sleep(0)
