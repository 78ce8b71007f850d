"""From the keyboard to the program: keys pass as fast as they are taken, and those for the client wait for nobody."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from farhand_client.errors import ConnectionLost
from farhand_client.stdin import InputStream
from farhand_protocol.limits import KiB, MiB

from .escapes import Escapes, Key
from .local import LocalTerminal

READ_SIZE: Final = 64 * KiB
"""Bytes read at once; Linux gives at most 4 KiB (N_TTY_BUF_SIZE)."""

WAITING: Final = 1 * MiB
"""Bytes of keys that wait for the service before more are read: a large paste, so that a key behind it that is for the
client is seen although the line is dead."""

STUCK: Final = 5.0
"""Seconds without any of them taken until keys are read again, and thrown away, so that at last the ones for the client
are seen: longer than a program that works takes to look at its input."""

_INTERRUPT: Final = b"\x03"


class Typist(Protocol):
    """Who acts on keys."""

    def key(self, key: Key) -> None:
        """A key for the client was pressed."""

    def typed(self) -> None:
        """Something was typed, whatever it is."""

    def unheard(self) -> None:
        """What was typed is thrown away: the program takes nothing."""

    def watching(self, *, interrupt: bool) -> None:
        """What was typed, with `interrupt` Ctrl-C among it, goes nowhere: nothing may be typed here, or no more."""

    def gone(self) -> None:
        """The terminal is no more."""


class Keys:
    """Reads `terminal`, and writes to `stdin`, if there is one, what is for the program."""

    def __init__(self, terminal: LocalTerminal, stdin: InputStream | None, escapes: Escapes, typist: Typist) -> None:
        self._terminal = terminal
        self._stdin = stdin
        self._escapes = escapes
        self._typist = typist
        self._loop = asyncio.get_running_loop()
        self._over = False
        self._stuck = False
        self._waiting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._loop.add_reader(self._terminal.fd, self._read)

    def stop(self) -> None:
        """Read no more. Safe to call again."""
        self._over = True
        self._loop.remove_reader(self._terminal.fd)
        if self._waiting is not None:
            self._waiting.cancel()

    def _read(self) -> None:
        data = self._terminal.read(READ_SIZE)
        if data is None:
            return
        if not data:
            self.stop()
            self._typist.gone()
            return
        self._typist.typed()
        for piece in self._escapes.feed(data):
            if isinstance(piece, Key):
                self._typist.key(piece)
            elif not self._over:
                self._pass(piece)

    def _pass(self, data: bytes) -> None:
        if self._stdin is None or self._stdin.over:
            self._typist.watching(interrupt=_INTERRUPT in data)
            return
        if self._stuck:
            self._typist.unheard()
            return
        try:
            self._stdin.write(data)
            self._stdin.flush()
        except (BrokenPipeError, ConnectionLost):
            return  # the run is over, or lost: that is told by its output
        if self._stdin.waiting >= WAITING and self._waiting is None:
            self._loop.remove_reader(self._terminal.fd)
            self._waiting = asyncio.ensure_future(self._wait(self._stdin))

    async def _wait(self, stdin: InputStream) -> None:
        try:
            while not self._stuck:
                before = stdin.waiting
                try:
                    async with asyncio.timeout(STUCK):
                        await stdin.drain()
                        break
                except TimeoutError:
                    self._stuck = stdin.waiting >= before
            else:
                self.start()
                await stdin.drain()
        except (BrokenPipeError, ConnectionLost):
            pass
        self._stuck = False
        self._waiting = None
        self.start()
