"""Splits what arrives on one socket into frames, which are passed on whole and uncopied as slices of one buffer."""

from __future__ import annotations

import asyncio
from typing import Final

from farhand_protocol.frames import FRAME_HEADER
from farhand_protocol.limits import FRAME_HEADER_SIZE, KiB

BUFFER_SIZE: Final = 64 * KiB + FRAME_HEADER_SIZE
"""Bytes for what arrives: one full data frame, the most that is sent at once. Memory that is never written costs
nothing, so a connection with small frames needs one page."""


class BrokenFrame(Exception):
    """The peer has sent what cannot be passed on."""


class FrameProtocol(asyncio.BufferedProtocol):
    """Base of the two ends of the relay. Subclasses implement `check`, `frame` and `broken`."""

    def __init__(self) -> None:
        self._buffer = bytearray(BUFFER_SIZE)
        self._view = memoryview(self._buffer)
        self._filled = 0

    def check(self, kind: int, channel: int, length: int) -> None:
        """Raise `BrokenFrame` if no such frame may arrive now. Called before memory is reserved for it."""

    def frame(self, kind: int, channel: int, frame: memoryview) -> None:
        """Handle a whole frame, header included, whose memory is used again after the call. It may be changed.

        Raises `BrokenFrame`.
        """

    def read_done(self) -> None:
        """All frames of one read have been handled."""

    def broken(self, why: BrokenFrame) -> None:
        """End the connection: nothing more of it can be understood."""

    @property
    def incomplete(self) -> bool:
        """Whether a part of a frame has arrived."""
        return self._filled > 0

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the memory in which the next bytes belong."""
        return self._view[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Pass on what is complete, and keep the rest."""
        view, at, end = self._view, 0, self._filled + nbytes
        self._filled = 0  # also if `frame` ends the connection
        try:
            while end - at >= FRAME_HEADER_SIZE:
                word, channel = FRAME_HEADER.unpack_from(view, at)
                length = word >> 8
                stop = at + FRAME_HEADER_SIZE + length
                self.check(word & 0xFF, channel, length)
                if stop > end:
                    self._reserve(stop - at)
                    break
                self.frame(word & 0xFF, channel, view[at:stop])
                at = stop
        except BrokenFrame as error:
            self.read_done()
            self.broken(error)
            return
        self.read_done()
        if at < end:
            self._view[: end - at] = view[at:end]
            self._filled = end - at
        elif len(self._view) > BUFFER_SIZE:
            self._replace_buffer(BUFFER_SIZE)

    def _reserve(self, size: int) -> None:
        if size > len(self._view):
            self._replace_buffer(size)

    def _replace_buffer(self, size: int) -> None:
        self._buffer = bytearray(size)
        self._view = memoryview(self._buffer)
