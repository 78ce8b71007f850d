"""Finds the frames in a stream of bytes, however it is split. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .wire import FORWARD_HEADER


class FrameScanner:
    """Yields frames as they arrive. Stores a header, or a frame that is needed whole, until it is complete."""

    def __init__(self, begin: Callable[[int, int, int], bool]) -> None:
        """`begin` is called with kind, flow and size of each header before any of the payload is stored. It returns
        whether the payload may be yielded in parts, as it arrives, and raises what refuses a frame."""
        self._begin = begin
        self._partial = bytearray()
        self._in_parts: tuple[int, int] | None = None
        self._missing = 0
        """Bytes that are missing of the frame that is yielded in parts."""

    @property
    def incomplete(self) -> bool:
        """Whether the bytes so far end in the middle of a frame."""
        return bool(self._partial or self._missing)

    def frames(self, data: bytes) -> Iterator[tuple[int, int, bytes | memoryview]]:
        """Yield kind, flow and payload of what `data` completes, and parts of payloads that may be yielded so. Exhaust
        the iterator before the next call."""
        view = memoryview(data)
        at, end, header = 0, len(data), FORWARD_HEADER.size
        while at < end:
            if self._missing:
                assert self._in_parts is not None
                chunk = view[at : at + self._missing]
                at += len(chunk)
                self._missing -= len(chunk)
                yield *self._in_parts, chunk
                continue
            if self._partial or end - at < header:
                before = len(self._partial)
                needed = self._needed()
                self._partial += view[at : at + needed]
                at = min(at + needed, end)
                if len(self._partial) < header:
                    return
                kind, flow, size = FORWARD_HEADER.unpack_from(self._partial)
                if before >= header or not self._begin(kind, flow, size):
                    if len(self._partial) < header + size:
                        continue
                    payload = bytes(self._partial[header:])
                    self._partial.clear()
                    yield kind, flow, payload
                    continue
                self._partial.clear()
            else:
                kind, flow, size = FORWARD_HEADER.unpack_from(data, at)
                at += header
                if not self._begin(kind, flow, size):
                    if end - at < size:
                        self._partial += view[at - header :]
                        return
                    yield kind, flow, data[at : at + size]
                    at += size
                    continue
            self._in_parts, self._missing = (kind, flow), size

    def _needed(self) -> int:
        """Return how many bytes the header, or the rest of the frame, needs."""
        if len(self._partial) < FORWARD_HEADER.size:
            return FORWARD_HEADER.size - len(self._partial)
        size: int = FORWARD_HEADER.unpack_from(self._partial)[2]
        return FORWARD_HEADER.size + size - len(self._partial)
