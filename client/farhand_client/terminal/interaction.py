"""Shows a run's terminal on the local one: passes keys to the run, output to the terminal, and sizes both ways."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable
from typing import Final

from farhand_client.config import PredictMode
from farhand_client.errors import FarhandError
from farhand_client.output import Gap
from farhand_client.run import Run
from farhand_protocol.limits import KiB
from farhand_protocol.messages.terminal import WindowSize

from .echo_probes import EchoProbes
from .escapes import DEFAULT_ESCAPE, ClientKey, EscapeParser, caret_notation
from .input import KeyReader, TerminalSignals
from .local import LocalTerminal, TerminalOutput
from .notices import NoticeRow, Notices, ResponseWatch
from .predicted_echo import PredictedEcho
from .screen import ScreenTracker
from .sequences import CANCEL_SEQUENCE

_WRITE_SIZE: Final = 64 * KiB
"""Bytes written to the terminal at once; keys are handled between two writes."""

SIZE_NOTICE_DELAY: Final = 0.3
"""Seconds until a size that differs from ours is reported. While a window is dragged, the service still confirms the
previous size, and a program first redraws for the new one."""

GUARD_UPDATE_INTERVAL: Final = 0.1
"""Minimum seconds between two updates that tell the terminal's guard what a program has set. In a flood of coloured
output, the settings change with every chunk."""


class InteractionResult(enum.Enum):
    """Why an interaction is over."""

    RUN_ENDED = enum.auto()
    """The run is over, or permanently lost; `Run.wait` says which."""
    LEFT = enum.auto()
    """The user left by a key: the run is treated as if its client had gone (`Run.abandon`)."""
    DETACHED = enum.auto()
    """The user detached by a key: the run continues (`Run.detach`)."""
    TERMINAL_GONE = enum.auto()
    """The local terminal has hung up; the run continues."""


class Interaction:
    """Shows `run` on `terminal`. Pass `output_lost` as the run's `on_gap`.

    Keys after `escape` are for the client; None disables them. A run whose stdin this client does not feed is shown
    read-only. The first `backlog` bytes of output, made on a terminal of `backlog_size`, are not written as they
    arrive; once all have arrived, the resulting screen is painted. `ping` returns the seconds until the service has
    answered (`Client.ping`); without it nothing is predicted. With `explain_suspend`, the first Ctrl-Z shows how to
    leave the program running, since no shell waits behind it.
    """

    def __init__(
        self,
        run: Run,
        terminal: LocalTerminal,
        *,
        escape: int | None = DEFAULT_ESCAPE,
        backlog: int = 0,
        backlog_size: WindowSize | None = None,
        ping: Callable[[], Awaitable[float]] | None = None,
        predict: PredictMode = "never",
        explain_suspend: bool = False,
    ) -> None:
        self._run = run
        self._terminal = terminal
        self._escape = escape
        self._backlog = backlog
        self._explain_suspend = explain_suspend
        self._loop = asyncio.get_running_loop()
        self._size = _known_size(run.size, terminal.size)
        shown = backlog_size or self._size
        self._screen = ScreenTracker(shown.columns, shown.rows)
        self._repaint = backlog > 0
        self._result: asyncio.Future[InteractionResult] = self._loop.create_future()
        self._output = TerminalOutput(terminal, self._show, self.terminal_gone)
        self._notice_row = NoticeRow(self._screen)
        self._notices = Notices(self._notice_row, self._show)
        self._echo = PredictedEcho(self._screen, "never" if ping is None else predict)
        self._probes = None
        if ping is not None and predict != "never":
            self._probes = EchoProbes(self._echo, ping, self._show)
        self._may_type = run.stdin is not None and not run.stdin.over
        self._keys = KeyReader(terminal, run.stdin if self._may_type else None, EscapeParser(escape), self)
        self._signals = TerminalSignals(self, lambda: terminal.size)
        self._showing = True  # blocks _show until the terminal is raw
        self._settings_changed = False
        self._guard_timer: asyncio.TimerHandle | None = None
        self._watch = None if ping is None else ResponseWatch(ping, self._service_answers)
        self._size_timer: asyncio.TimerHandle | None = None
        self._reported_size: WindowSize | None = None

    async def run(self) -> InteractionResult:
        """Show the run until it ends, the user leaves, or the terminal hangs up; then restore the terminal.

        Raises `TerminalUnavailable`.
        """
        with self._terminal.raw(), self._signals:
            try:
                self._run.on_resize(self._size_agreed)
                self._run.on_going_away(self._service_stopping)
                self._run.stdout.on_ready(self._show)
                self._keys.start()
                self._showing = False
                self._size_agreed(self._run.size or self._size)
                if self._probes is not None:
                    self._probes.schedule()
                return await self._result
            finally:
                self._close()

    def set_notice(self, text: str | None) -> None:
        """Show a notice, with the key to detach, until the next call; None removes it."""
        if text is not None and self._escape is not None:
            text = f"{text}; Enter {caret_notation(self._escape)}d detaches"
        self._notices.set_permanent(text)

    def add_notice(self, text: str) -> None:
        """Show a notice for a while."""
        self._notices.add_temporary(text)

    def output_lost(self, gap: Gap) -> None:
        """Note that bytes of the output are missing."""
        if self._backlog:
            self._backlog = max(0, self._backlog - gap.bytes)
        else:
            self.add_notice(f"{gap.bytes} bytes of output are lost; the screen may be wrong until it is redrawn")

    def _service_stopping(self, grace: float) -> None:
        # Without the key to detach: detached runs are ended, too.
        self._notices.set_permanent(f"the service is stopping; it ends this run in {grace:g} seconds")

    def _service_answers(self, text: str | None) -> None:
        if text is None or self._run.connected:  # a lost connection has a notice of its own
            self.set_notice(text)

    # Implements KeyHandler.

    def client_key(self, key: ClientKey) -> None:
        match key:
            case ClientKey.LEAVE:
                self._finish(InteractionResult.LEFT)
                self._run.abandon()
            case ClientKey.DETACH:
                self._finish(InteractionResult.DETACHED)
                self._run.detach()
            case ClientKey.SUSPEND:
                self.suspend()
            case ClientKey.HELP:
                self.add_notice(self._help())

    def key_pressed(self) -> None:
        self._notices.key_pressed()
        if self._watch is not None and self._may_type:
            self._watch.key_sent()

    def typed(self, data: bytes, *, sent: bool) -> None:
        if self._probes is None:
            return
        if sent and self._run.connected and not self._repaint:
            self._echo.typed(data, self._loop.time())
        else:
            self._echo.held_back()
        self._probes.schedule()
        if self._echo.pending:
            self._show()

    def suspend_typed(self) -> None:
        if self._explain_suspend and self._escape is not None:
            self._explain_suspend = False
            escape = caret_notation(self._escape)
            self.add_notice(f"to put this in the background: Enter {escape}d; then :attach (or fg) returns to it")

    def input_discarded(self) -> None:
        self.add_notice("the program reads no input; keys are discarded")

    def input_refused(self, *, interrupt: bool) -> None:
        if self._may_type and self._run.outcome is not None:
            return  # the program has ended; the rest of its output is on the way
        if interrupt:
            # Leaving must not stop a run that others work in.
            self.client_key(ClientKey.LEAVE if self._run.kept else ClientKey.DETACH)
        elif self._may_type:
            self._may_type = False  # another client attached during an outage
            self.add_notice("another client has taken over; this terminal is read-only (Ctrl-C leaves)")
        else:
            self.add_notice("this terminal is read-only; keys are discarded (Ctrl-C leaves)")

    def terminal_gone(self) -> None:
        self._finish(InteractionResult.TERMINAL_GONE)
        self._run.detach()

    # Implements TerminalObserver.

    def resized(self, size: WindowSize) -> None:
        self._run.resize(size.columns, size.rows)
        if self._may_type:
            # Shrink at once, but grow only when the service says so: other clients may have smaller terminals.
            columns, rows = min(size.columns, self._size.columns), min(size.rows, self._size.rows)
            self._size_agreed(WindowSize(columns=columns, rows=rows))

    def suspend(self) -> None:
        self._release_terminal(self._notices.hide())
        self._terminal.suspend()
        self._reclaim_terminal()

    def continued(self) -> None:
        self._terminal.restore_raw()
        self._reclaim_terminal()

    # Output

    def _show(self) -> None:
        """Write output and notices as far as the terminal accepts them."""
        if self._showing:
            return
        self._showing = True
        try:
            while self._output.idle and not self._result.done() and self._step():
                pass
        finally:
            self._showing = False

    def _step(self) -> bool:
        """Take one step; return whether there was anything to do."""
        screen = self._screen
        if self._repaint and not self._backlog:
            self._paint()
        elif (self._size.columns != screen.columns or self._size.rows != screen.rows) and not self._backlog:
            self._output.write(self._notices.hide_for_output() + self._echo.hide())
            screen.resize(self._size.columns, self._size.rows)
        elif notice := self._notices.update():
            self._output.write(self._echo.hide() + notice)
        else:
            return self._pass_output() or self._show_predicted()
        return True

    def _pass_output(self) -> bool:
        """Pass a chunk of output on; return whether there was one."""
        try:
            chunks = self._run.stdout.read_nowait(_WRITE_SIZE)
        except FarhandError:
            chunks = None  # `Run.wait` raises the error
        if chunks is None:
            return self._output_ended()
        if not chunks:
            return False
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if self._watch is not None:
            self._watch.output_received()
        if self._backlog:
            self._screen.feed(data)  # bytes after the backlog are part of what is painted as well
            self._backlog = max(0, self._backlog - len(data))
            return True
        hide = self._notices.hide_for_output()
        if self._echo.active:
            shown = hide + self._echo.make_way(data) + data
            self._track(data)
            self._echo.followed(len(data), self._loop.time())
            self._output.write(shown + self._echo.show(self._loop.time(), all_written=False))
            return True
        shown = hide + data
        if b"\x1b[?" in data:
            self._track(data)  # before writing: if we are killed in between, the guard knows the modes
            self._output.write(shown)
        else:
            self._output.write(shown)
            self._track(data)
        return True

    def _show_predicted(self) -> bool:
        """Show what is predicted now, unless a notice is on the terminal; return whether anything was written."""
        if self._notice_row.shown or not (self._echo.pending or self._echo.shown):
            return False
        predicted = self._echo.show(self._loop.time(), all_written=True)
        if predicted:
            self._output.write(predicted)
        return bool(predicted)

    def _track(self, data: bytes) -> None:
        self._screen.feed(data)
        if b"\x1b" in data:
            self._settings_changed = True
            if self._guard_timer is None:
                self._update_guard()

    def _output_ended(self) -> bool:
        if self._backlog:
            self._backlog = 0  # no more will arrive
            return True
        self._finish(InteractionResult.RUN_ENDED)
        return False

    def _paint(self) -> None:
        self._repaint = False
        hide = self._notices.hide_for_output()
        self._echo.forget()
        self._screen.resize(self._size.columns, self._size.rows)
        self._output.write(hide + self._screen.repaint(self._terminal.size.rows))
        self._terminal.set_undo_sequence(self._screen.undo_sequence())

    def _update_guard(self) -> None:
        """Tell the guard how to undo what the program has set, for every way out, even if this process is killed."""
        self._guard_timer = None
        if self._settings_changed:
            self._settings_changed = False
            self._terminal.set_undo_sequence(self._screen.undo_sequence())
            self._guard_timer = self._loop.call_later(GUARD_UPDATE_INTERVAL, self._update_guard)

    def _finish(self, result: InteractionResult) -> None:
        if not self._result.done():
            self._result.set_result(result)

    def _close(self) -> None:
        self._keys.stop()
        if self._probes is not None:
            self._probes.close()
        if self._watch is not None:
            self._watch.close()
        self._run.stdout.on_ready(None)
        self._run.on_resize(None)
        self._run.on_going_away(None)
        for timer in (self._size_timer, self._guard_timer):
            if timer is not None:
                timer.cancel()
        self._showing = True
        self._release_terminal(self._notices.close())

    def _release_terminal(self, hide: bytes) -> None:
        # After a part of the output was discarded, it is unknown what the terminal shows.
        begin = CANCEL_SEQUENCE if self._output.discard() else self._echo.hide()
        self._terminal.set_undo_sequence(begin + hide + self._screen.undo_sequence())

    def _reclaim_terminal(self) -> None:
        self._repaint = True
        self._signals.check_size()
        self._show()

    # Sizes

    def _size_agreed(self, size: WindowSize) -> None:
        self._size = _known_size(size, self._size)
        if self._size_timer is None:
            self._size_timer = self._loop.call_later(SIZE_NOTICE_DELAY, self._report_size)
        self._show()

    def _report_size(self) -> None:
        self._size_timer = None
        size, own = self._size, self._terminal.size
        if size == self._reported_size:
            return
        self._reported_size = size
        if size.columns < own.columns or size.rows < own.rows:
            self.add_notice(f"another client limits the terminal to {size.columns}x{size.rows}")
        elif size != own:
            self.add_notice(
                f"the terminal is {size.columns}x{size.rows}, larger than this one: part of it is not visible"
            )

    def _help(self) -> str:
        escape = "" if self._escape is None else caret_notation(self._escape)
        return f"{escape}. leaves  {escape}d detaches  {escape}^Z suspends  {escape}{escape} is {escape} itself"


def _known_size(size: WindowSize | None, default: WindowSize) -> WindowSize:
    """Return `size` unless it is unknown (0), as for a run whose service has died."""
    return size if size is not None and size.columns and size.rows else default
