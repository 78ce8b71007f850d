"""Input from the local terminal: keys for the program, keys for the client, and the signals of a terminal.

Keys for the program are passed on as fast as its stdin accepts them; keys for the client never wait for it.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol, Self

from farhand_client import job
from farhand_client.errors import ConnectionLost
from farhand_client.stdin import InputStream
from farhand_protocol.limits import KiB, MiB
from farhand_protocol.messages.terminal import WindowSize

from .escapes import ClientKey, EscapeParser
from .local import LocalTerminal

KEY_READ_SIZE: Final = 64 * KiB
"""Bytes read at once; Linux returns at most 4 KiB (N_TTY_BUF_SIZE)."""

MAX_UNSENT_KEYS: Final = 1 * MiB
"""Bytes of keys that may wait for the service before reading stops: enough for a large paste, so that a key for the
client typed after it is seen even if the connection is dead."""

STUCK_INPUT_TIMEOUT: Final = 5.0
"""Seconds. If none of those bytes is accepted for as long, keys are read again and discarded, so that keys for the
client are seen after all. Longer than a working program takes to read its input."""

RESIZE_INTERVAL: Final = 0.05
"""Minimum seconds between two reported sizes. While somebody drags the edge of a window there are a hundred a second,
and for each one a program redraws everything; twenty look smooth."""

_INTERRUPT: Final = b"\x03"
_SUSPEND: Final = b"\x1a"


class KeyHandler(Protocol):
    """Acts on what `KeyReader` reads."""

    def client_key(self, key: ClientKey) -> None:
        """A key for the client was pressed."""

    def key_pressed(self) -> None:
        """Some key was pressed."""

    def typed(self, data: bytes, *, sent: bool) -> None:
        """`data` was passed to the program; unless `sent`, it waits for the connection."""

    def suspend_typed(self) -> None:
        """Ctrl-Z was passed to the program."""

    def input_discarded(self) -> None:
        """Typed bytes are discarded because the program reads nothing."""

    def input_refused(self, *, interrupt: bool) -> None:
        """Typed bytes are discarded because this client may not type, or may no longer do so. With `interrupt`, they
        contained Ctrl-C."""

    def terminal_gone(self) -> None:
        """The local terminal has hung up."""


class KeyReader:
    """Reads keys from `terminal` and writes those for the program to `stdin`, if there is one."""

    def __init__(
        self, terminal: LocalTerminal, stdin: InputStream | None, escapes: EscapeParser, handler: KeyHandler
    ) -> None:
        self._terminal = terminal
        self._stdin = stdin
        self._escapes = escapes
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self._stopped = False
        self._stuck = False
        self._draining: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start reading."""
        self._loop.add_reader(self._terminal.fd, self._read)

    def stop(self) -> None:
        """Stop reading. Idempotent."""
        self._stopped = True
        self._loop.remove_reader(self._terminal.fd)
        if self._draining is not None:
            self._draining.cancel()

    def _read(self) -> None:
        data = self._terminal.read(KEY_READ_SIZE)
        if data is None:
            return
        if not data:
            self.stop()
            self._handler.terminal_gone()
            return
        self._handler.key_pressed()
        for part in self._escapes.feed(data):
            if isinstance(part, ClientKey):
                self._handler.client_key(part)
            elif not self._stopped:
                self._pass(part)

    def _pass(self, data: bytes) -> None:
        if self._stdin is None or self._stdin.over:
            self._handler.input_refused(interrupt=_INTERRUPT in data)
            return
        if self._stuck:
            self._handler.input_discarded()
            return
        try:
            self._stdin.write(data)
            self._stdin.flush()
        except (BrokenPipeError, ConnectionLost):
            return  # the run is over or lost, which its output reports
        self._handler.typed(data, sent=not self._stdin.waiting)
        if _SUSPEND in data:
            self._handler.suspend_typed()
        if self._stdin.waiting >= MAX_UNSENT_KEYS and self._draining is None:
            self._loop.remove_reader(self._terminal.fd)
            self._draining = asyncio.ensure_future(self._drain(self._stdin))

    async def _drain(self, stdin: InputStream) -> None:
        try:
            while not self._stuck:
                before = stdin.waiting
                try:
                    async with asyncio.timeout(STUCK_INPUT_TIMEOUT):
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
        self._draining = None
        self.start()


class TerminalObserver(Protocol):
    """Acts on what `TerminalSignals` reports."""

    def resized(self, size: WindowSize) -> None:
        """The terminal has a new size."""

    def suspend(self) -> None:
        """The job was asked to stop (SIGTSTP)."""

    def continued(self) -> None:
        """The job was continued; others may have changed the terminal in the meantime."""


class TerminalSignals:
    """While entered, reports SIGWINCH, SIGTSTP and SIGCONT to `observer`; `size` returns the current size."""

    def __init__(self, observer: TerminalObserver, size: Callable[[], WindowSize]) -> None:
        self._observer = observer
        self._size = size
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._reported: WindowSize | None = None

    def __enter__(self) -> Self:
        self._reported = self._size()
        self._loop.add_signal_handler(signal.SIGWINCH, self.check_size)
        self._loop.add_signal_handler(signal.SIGTSTP, self._observer.suspend)
        self._loop.add_signal_handler(signal.SIGCONT, self._observer.continued)
        job.set_own_stops(True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        job.set_own_stops(False)
        for number in (signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT):
            self._loop.remove_signal_handler(number)
        if self._timer is not None:
            self._timer.cancel()

    def check_size(self) -> None:
        """Report a new size, at once or after `RESIZE_INTERVAL`."""
        if self._timer is None:
            self._report_size()

    def _report_size(self) -> None:
        self._timer = None
        size = self._size()
        if size != self._reported:
            self._reported = size
            self._timer = self._loop.call_later(RESIZE_INTERVAL, self._report_size)
            self._observer.resized(size)
