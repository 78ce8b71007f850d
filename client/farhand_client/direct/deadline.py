"""The time until the login must be done, and the waiting until then."""

from __future__ import annotations

import select
import time

from farhand_client.connection.steps import ConnectSteps
from farhand_client.errors import ConnectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .signals import CollectedSignals


class NotDirectError(Exception):
    """The asyncio client must do this; nothing was requested yet."""


class InterruptedBySignal(Exception):
    """A signal to this process ends it. `number` is the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number: Final = number


class DirectDeadline(ConnectSteps):
    """The time limit of `--connect-timeout`, from now on."""

    def __init__(self, seconds: float, signals: CollectedSignals) -> None:
        super().__init__(seconds)
        self._signals = signals
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self._end - time.monotonic())

    def wait(self, fd: int, events: int, seconds: float | None = None) -> bool:
        """Wait until `fd` is ready; return False if it is not after `seconds`.

        Raises `ConnectError` at the deadline, and `InterruptedBySignal`.
        """
        return bool(self.wait_for_any({fd: events}, seconds))

    def wait_for_any(self, descriptors: dict[int, int], seconds: float | None = None) -> list[int]:
        """Return those of `descriptors` that are ready for their events; none after `seconds`. Raises as `wait`."""
        poll = select.poll()
        for fd, events in descriptors.items():
            poll.register(fd, events)
        poll.register(self._signals.fd, select.POLLIN)
        left = self.left
        ready = poll.poll(1000 * (left if seconds is None else min(seconds, left)) + 1)
        for number in self._signals.take():
            raise InterruptedBySignal(number)
        if not ready and not self.left:
            raise ConnectError(self.message)
        return [fd for fd, _ in ready if fd != self._signals.fd]
