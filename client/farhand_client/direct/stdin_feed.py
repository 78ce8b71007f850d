"""Our stdin on its way to the run: read as the service grants credit, and kept until the program has read it."""

from __future__ import annotations

import os
from collections import deque

from farhand_client import job
from farhand_client.ui.printing import reason
from farhand_protocol.limits import CLIENT_LIMITS
from farhand_protocol.window import SendWindow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .wire import Wire

MAX_STDIN_CHUNK: Final = CLIENT_LIMITS.data
"""Bytes of stdin read at once: one data frame, and what a pipe holds."""


class StdinFailed(Exception):
    """Our stdin cannot be read; says why."""


class StdinFeed:
    """The stdin of the run on `channel` of `wire`. The service accepts `window` bytes at first, `data` in one frame.

    What the program has not read is bounded by the credit, and by one chunk that was read and not sent.
    """

    def __init__(self, wire: Wire, channel: int, window: int, data: int) -> None:
        self.open = False
        """Whether more is to be read from our stdin."""
        self.ended = False
        """Whether our stdin has ended, and the service knows."""
        self.offset = 0
        """The offset of the first byte that the program is not known to have read."""
        self._wire = wire
        self._channel = channel
        self._data = data
        self._window = SendWindow(window)
        self._sent: deque[bytes] = deque()
        """What was sent and is not known to have been read by the program."""
        self._unsent = b""

    @property
    def wanted(self) -> bool:
        """Whether to read as soon as our stdin is readable."""
        return self.open and not self.ended and not self._unsent and not self._wire.unsent

    @property
    def unread(self) -> list[bytes]:
        """What was read here from `offset` on."""
        return [*self._sent, *([self._unsent] if self._unsent else [])]

    def read(self) -> None:
        """Read what there is, and send it or the end of our stdin. Raises `StdinFailed`; OSError if sending fails."""
        try:
            if not job.may_read(0):
                return
            data = os.read(0, MAX_STDIN_CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            self.open = False
            raise StdinFailed(reason(error)) from None
        if not data:
            self.ended = True
            self._wire.send(self._channel, {"type": "end", "stream": "stdin"})
        self._unsent = data
        self.pump()

    def pump(self) -> None:
        """Send as much of what was read as the credit allows."""
        while self._unsent and not self._wire.unsent:
            room = min(self._window.credit, self._data)
            if not room:
                return
            data, self._unsent = self._unsent[:room], self._unsent[room:]
            self._window.spend(len(data))
            self._sent.append(data)
            self._wire.send_data(self._channel, data)

    def granted(self, count: int) -> None:
        """Note that the program has read `count` bytes more, and send as many. Raises RemoteProtocolError."""
        self._window.grant(count)
        self.offset += count
        while count and self._sent:
            first = self._sent[0]
            if len(first) > count:
                self._sent[0] = first[count:]
                break
            count -= len(first)
            self._sent.popleft()
        self.pump()
