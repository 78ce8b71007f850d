"""A user's terminal with predicted echo beside one without, both judged by pyte, on a connection that a test delays."""

from __future__ import annotations

from typing import Any

from farhand_client.config import PredictMode
from farhand_client.terminal.predicted_echo import ECHO_TIME, EchoProbe, PredictedEcho
from farhand_client.terminal.screen import ScreenTracker

from .reference_terminals import Reference

ROUND_TRIP = 0.2


class PredictedTerminal:
    """What a user sees; `plain` is what they would see without prediction. `now` is the time."""

    def __init__(self, mode: PredictMode = "always", *, columns: int = 20, rows: int = 6) -> None:
        self.screen = ScreenTracker(columns, rows)
        self.echo = PredictedEcho(self.screen, mode)
        self.user = Reference(columns, rows)
        self.plain = Reference(columns, rows)
        self.now = 1000.0
        self.written = b""

    def type(self, data: bytes) -> None:
        """Type something that reaches the program later."""
        self.echo.typed(data, self.now)
        self._write(self.echo.show(self.now, all_written=True))

    def output(self, data: bytes) -> None:
        """Receive output of the program."""
        before = self.echo.make_way(data)
        self.screen.feed(data)
        self.echo.followed(len(data), self.now)
        self._write(before + data + self.echo.show(self.now, all_written=True))
        self.plain.feed(data)

    def probe(self) -> EchoProbe:
        """Send a ping, after the time in which what was typed so far is echoed, if it is."""
        self.now += ECHO_TIME
        return self.echo.probe(self.now)

    def answer(self, probe: EchoProbe) -> None:
        """Receive the answer of a ping."""
        self.now += ROUND_TRIP
        self.echo.answered(probe, ROUND_TRIP)
        self._write(self.echo.show(self.now, all_written=True))

    def settle(self) -> None:
        """Let everything typed so far be acknowledged."""
        self.answer(self.probe())

    def hide(self) -> None:
        """Take back what is predicted."""
        self._write(self.echo.hide())

    def line(self, row: int = 0) -> str:
        """Return what a row of the user's terminal shows, without trailing blanks."""
        return self.user.display[row].rstrip()

    @property
    def underlined(self) -> str:
        """The underlined characters of the user's terminal."""
        rows = self.user.state["rows"]
        return "".join(cell.data for row in rows for cell in row if cell.underscore)

    @property
    def states(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Everything that is visible on the user's terminal, and on the other one."""
        return self.user.state, self.plain.state

    def _write(self, data: bytes) -> None:
        self.written += data
        self.user.feed(data)
