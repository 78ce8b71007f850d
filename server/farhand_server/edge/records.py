"""Counts TLS records in what a client sends, so that OpenSSL is given only so many of them at a time.

Without I/O. `SSL_read` continues inside OpenSSL while records come that carry no data (a KeyUpdate takes 30 µs), so the
number of records that it finds decides how long a call takes.
"""

from __future__ import annotations

from typing import Final

RECORD_HEADER_SIZE: Final = 5
"""Bytes before a record's content: type, version, and the content's length (RFC 8446, section 5.1)."""


class RecordCounter:
    """Finds the ends of the records in a stream of bytes, which may be divided anywhere."""

    __slots__ = ("_header", "_left")

    def __init__(self) -> None:
        self._header = b""
        self._left = 0
        """Bytes of the current record's content that have not come yet."""

    def whole(self, data: memoryview, at: int) -> int:
        """Return the length of the record that begins at `at`, which is then taken, if it is there as a whole.

        Otherwise return 0, and `take` must be called.
        """
        if self._left or self._header or len(data) - at < RECORD_HEADER_SIZE:
            return 0
        length = RECORD_HEADER_SIZE + (data[at + 3] << 8) + data[at + 4]
        return length if at + length <= len(data) else 0

    def take(self, data: memoryview, most: int) -> tuple[int, int]:
        """Return how many bytes of `data` to use now, and how many records end in them: at most `most`.

        The next call must begin with the byte after these.
        """
        at = ended = 0
        while at < len(data) and ended < most:
            if not self._left:
                missing = RECORD_HEADER_SIZE - len(self._header)
                self._header += data[at : at + missing]
                at += missing
                if len(self._header) < RECORD_HEADER_SIZE:
                    return len(data), ended
                self._left = int.from_bytes(self._header[3:], "big")
                self._header = b""
            step = min(self._left, len(data) - at)
            at += step
            self._left -= step
            if not self._left:
                ended += 1
        return at, ended
