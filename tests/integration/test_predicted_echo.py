"""What is typed into a real shell is on the screen before anything can have come back, and leaves no trace."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.command import FARHAND, farhand
from tests.support.ptys import TIMEOUT, Pty, terminal
from tests.support.reference_terminals import Reference
from tests.support.service import Service
from tests.support.unix_proxy import UnixProxy, unix_proxy

RUN_ID = "01890000-0000-7000-8000-00000000ec40"

PREDICTION_TIME = 0.5
"""Seconds after which a character that is not shown is taken not to be predicted; then another one is typed."""


class Seen:
    """The user's terminal: what a person at `pty` sees."""

    def __init__(self, pty: Pty) -> None:
        self._pty = pty
        self._terminal = Reference(200, 24)

    async def until(self, line: str, *, underlined: str | None = None) -> None:
        """Wait until the cursor's row is `line`, of which `underlined` is underlined."""
        try:
            async with asyncio.timeout(TIMEOUT):
                while (self._line, self._underlined) != (line, underlined or ""):
                    await self.more()
        except TimeoutError:
            raise AssertionError(f"expected {line!r}; the screen is {self._terminal.display}") from None

    async def more(self) -> bytes:
        """Wait for output, and return it."""
        await self._pty.changes()
        shown, self._pty.shown = self._pty.shown, b""
        self._terminal.feed(shown)
        return shown

    async def until_predicted(self, proxy: UnixProxy) -> str:
        """Stop forwarding and type a character, until one is shown nevertheless; return the row before it.

        A busy machine takes so long to echo some characters that the next ones are not predicted.
        """
        while True:
            line = self._terminal.display[self._terminal.cursor.y][: self._terminal.cursor.x]
            proxy.pause()
            self._pty.type(b"x")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PREDICTION_TIME):
                    while (self._line, self._underlined) != (line + "x", "x"):
                        await self.more()
                    return line
            proxy.resume()
            await self.until(line + "x")

    async def until_state(self, state: object) -> None:
        """Wait until the terminal is in a state: the kernel may deliver output after the end of who wrote it."""
        while self._terminal.state != state:
            await self.more()

    @property
    def _line(self) -> str:
        return self._terminal.display[self._terminal.cursor.y].rstrip()

    @property
    def _underlined(self) -> str:
        return "".join(cell.data for row in self._terminal.state["rows"] for cell in row if cell.underscore)


@pytest.fixture
async def pty() -> AsyncIterator[Pty]:
    async with terminal(200, 24) as made:
        yield made


@pytest.fixture
async def proxy(tmp_path: Path, core: Service) -> AsyncIterator[UnixProxy]:
    """A proxy in front of the shared service, which a test can stop from forwarding."""
    async with unix_proxy(tmp_path, core.socket) as made:
        yield made


async def test_typing_into_a_shell_is_predicted(pty: Pty, proxy: UnixProxy, core: Service) -> None:
    env = core.environment | {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
    options = ("--predict", "always", "--id", RUN_ID, "-e", "PS1=> ", "-e", "HISTFILE=")
    command = ("bash", "--norc", "--noprofile", "-i")
    seen = Seen(pty)
    async with pty.running(*FARHAND, "run", "-t", *options, proxy.host, "--", *command, env=env) as process:
        await seen.until(">")
        line = await seen.until_predicted(proxy)
        for key in (b"a", b"b", b"c", b" ", b"d", b"\x7f", b"\x7f", b"\x1b[D", b"x"):
            pty.type(key)
        await seen.until(line + "xabxc", underlined="xabxc")
        proxy.resume()
        await seen.until(line + "xabxc")

        pty.type(b'\x05\x15bind \'"q": "uu"\'; PS1="$ "\r')
        await seen.until("$")
        line = await seen.until_predicted(proxy)
        pty.type(b"q")
        await seen.until(line + "xq", underlined="xq")
        proxy.resume()
        await seen.until(line + "xuu")

        pty.type(b"\x15read -s -p 'Password: '\r")
        await seen.until("Password:")
        for key in (b"Q", b"W", b"E", b"R", b"Z", b"\r"):
            pty.type(key)
        assert set(await seen.more()) & set(b"QWERZ") == set()
        await seen.until("Password: $")
        pty.type(b"exit\r")
        assert await process.wait() == 0
    output = (await farhand("logs", core.host, RUN_ID, env=env)).stdout
    await seen.until_state(Reference(200, 24, output).state)
