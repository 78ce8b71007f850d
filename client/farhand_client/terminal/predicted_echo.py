"""Shows typed characters on the user's terminal before the program's echo arrives, where that takes noticeably long.

`PredictedEcho` joins the screen (screen.py), the guesses (prediction.py) and what shows them (overlay.py). `EchoProbe`s
are pings; an answer says how long a round trip takes, and that the program had received what was typed before.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from farhand_client.config import PredictMode
from farhand_protocol.limits import KiB

from .keystrokes import KeystrokeParser
from .overlay import Overlay
from .prediction import Predictor
from .round_trips import RoundTrips
from .screen import MAX_BEHIND, ScreenTracker

ECHO_TIME: Final = 0.05
"""Seconds that a program has for echoing a key, as in mosh. It costs nothing but how long a guess is underlined."""

MEASURE_INTERVAL: Final = 1.0
"""Seconds between two measurements while somebody types on a quick connection; each costs a ping."""

MAX_PASTE: Final = 100
"""Bytes typed at once beyond which nothing is guessed, as in mosh: it is a paste."""

MAX_FOLLOWED: Final = 32 * KiB
"""Bytes of output after a key beyond which its guesses are dropped: to keep the guesses right, all of this output has
to be emulated, which takes up to 1 ms for each KiB."""

QUIET_TIME: Final = 0.1
"""Seconds without output after which the screen is emulated even if much output has preceded. In a flood of output,
doing so for each key would slow it down."""


class EchoProbe(NamedTuple):
    """A ping: the program has had time to echo the inputs up to `settled`, and has received those up to `received`."""

    settled: int
    received: int


class PredictedEcho:
    """The predicted echo on a terminal that shows `screen`. `now` is the time in seconds, of any clock.

    Call `typed` for what was sent to the program; `make_way` before, and `followed` after `screen` was fed with output;
    and `show` then and whenever all output received was written. At `probe_due` send the ping `probe`.
    """

    def __init__(self, screen: ScreenTracker, mode: PredictMode) -> None:
        self._screen = screen
        self._always = mode == "always"
        self._round_trips = RoundTrips()
        self._parser = KeystrokeParser()
        self._predictor = Predictor()
        self._overlay = Overlay()
        self._times: deque[tuple[int, float]] = deque()
        """The inputs for which no probe was sent, and when they were sent."""
        self._measured_at: float | None = None
        self._answer: EchoProbe | None = None
        self._skipped = False
        """Whether anything was typed while nothing was predicted."""
        self._output_at = float("-inf")
        self._followed = 0

    @property
    def pending(self) -> bool:
        """Whether there are guesses, so that `show` may have something to show."""
        return self._predictor.pending or self._answer is not None

    @property
    def shown(self) -> bool:
        """Whether anything predicted is on the terminal."""
        return self._overlay.shown

    @property
    def active(self) -> bool:
        """Whether output matters here. If not, `make_way`, `followed` and `show` need not be called for it."""
        return self._always or self._round_trips.slow or self.pending or self.shown

    def typed(self, data: bytes, now: float) -> None:
        """Guess the effect of `data`, which was just sent to the program."""
        if not (self._always or self._round_trips.slow or self._predictor.pending):
            self._skipped = True
            return
        self._settle(now)
        self._followed = 0
        if self._skipped or len(data) > MAX_PASTE or self._too_far_behind(now):
            self._skipped = False
            self._parser = KeystrokeParser()
            self._predictor.skip()
        else:
            self._predictor.type(self._parser.feed(data), self._screen.emulator)
        self._times.append((self._predictor.typed, now))

    def held_back(self) -> None:
        """Note that what was just typed cannot be sent yet."""
        self._predictor.skip()

    def hide(self) -> bytes:
        """Return what to write to the terminal before anything else but the program's output."""
        return self._overlay.hide(self._screen.emulator) if self._overlay.shown else b""

    def make_way(self, following: bytes) -> bytes:
        """Return what to write to the terminal before the program's output `following`."""
        return self._overlay.make_way(following, self._screen.emulator) if self._overlay.shown else b""

    def followed(self, size: int, now: float) -> None:
        """Note that the screen was fed with `size` bytes of output."""
        self._output_at = now
        if self._predictor.pending:
            self._followed += size
            if self._followed > MAX_FOLLOWED:
                self._predictor.reset()

    def show(self, now: float, *, all_written: bool) -> bytes:
        """Return the output that shows what is predicted now. `all_written` says that the screen shows all output
        received."""
        if all_written:
            self._settle(now)
        if not (self._predictor.pending or self._overlay.shown):
            return b""
        screen = self._screen.emulator
        predicted = None if self._screen.pending else self._predictor.predicted(screen)
        return self._overlay.show(predicted, screen) if predicted is not None or self._overlay.shown else b""

    def forget(self) -> None:
        """Note that the terminal no longer shows what was written, and drop all guesses."""
        self._overlay.forget()
        self._predictor.skip()

    def probe_due(self, now: float, *, measuring: bool) -> float | None:
        """Return when to send the next probe; None if none is needed now. `measuring` says that one is unanswered."""
        if self._times:
            return self._times[0][1] + ECHO_TIME
        if self._always or self._round_trips.slow or measuring:
            return None
        if self._measured_at is None or (self._skipped and self._measured_at + MEASURE_INTERVAL <= now):
            return now
        return None

    def probe(self, now: float) -> EchoProbe:
        """Return the probe to send now."""
        settled = self._predictor.typed if not self._times else self._times[0][0] - 1
        while self._times and self._times[0][1] + ECHO_TIME <= now:
            settled = self._times.popleft()[0]
        self._measured_at = now
        return EchoProbe(settled, self._predictor.typed)

    def answered(self, probe: EchoProbe, round_trip: float | None) -> None:
        """Note that `probe` was answered after `round_trip` seconds, or None if it never will be."""
        if round_trip is None:
            self._predictor.skip()
            return
        self._round_trips.measured(round_trip)
        if probe.settled > max(self._predictor.settled, -1 if self._answer is None else self._answer.settled):
            self._answer = probe

    def _settle(self, now: float) -> None:
        if self._answer is not None and not self._too_far_behind(now):
            answer, self._answer = self._answer, None
            self._predictor.acknowledge(answer.settled, answer.received, self._screen.emulator)

    def _too_far_behind(self, now: float) -> bool:
        return self._screen.behind > MAX_BEHIND and now - self._output_at < QUIET_TIME
