"""One output stream of the run: how much of it has arrived, and how much was written to our stdout or stderr."""

from __future__ import annotations

from farhand_protocol.limits import CLIENT_LIMITS
from farhand_protocol.window import ReceiveWindow

from .output import OutputWriter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from farhand_client.handover import OutputSoFar


class DirectOutput:
    """The stream `name`, which is written to `fd`. Raises OSError if that cannot be written."""

    def __init__(self, name: str, fd: int) -> None:
        self.name: Final = name
        self.writer: Final = OutputWriter(fd)
        self.window: Final = ReceiveWindow(CLIENT_LIMITS.window)
        self.written = 0
        self.ended = False
        self.discarded = False

    def write(self, chunks: list[memoryview] | None) -> int:
        """Write `chunks`, or with None more of what is pending. Return the credit that is to be granted for it.

        Raises OSError.
        """
        if self.discarded:
            count = sum(map(len, chunks or ()))
        else:
            count = self.writer.go_on() if chunks is None else self.writer.write(chunks)
        self.written += count
        return self.window.acknowledge(count)

    def discard(self) -> int:
        """Throw away what is pending, and all that is to come. Return the credit that is to be granted for it."""
        self.discarded = True
        self.writer.unwritten()
        count, self.written = self.window.offset - self.written, self.window.offset
        return self.window.acknowledge(count)

    def hand_over(self, so_far: OutputSoFar) -> None:
        """Say how far this has come. Nothing is written from here afterwards."""
        if not self.discarded:
            written, unwritten = self.writer.unwritten()
            self.written += written
            so_far.unwritten = [bytes(chunk) for chunk in unwritten]
        so_far.written = self.written
        so_far.discarded = self.discarded
