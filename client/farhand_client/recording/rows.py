"""Output that was made without a terminal, for one."""

from __future__ import annotations


class RowsEnd:
    """Makes CR LF of newlines, as a terminal driver does (termios(3), ONLCR), but not of those that have a CR."""

    def __init__(self) -> None:
        self._after_return = False

    def of(self, data: bytes) -> bytes:
        """Return what comes next, so changed."""
        if not data:
            return data
        begin = 1 if self._after_return and data.startswith(b"\n") else 0
        self._after_return = data.endswith(b"\r")
        return data[:begin] + data[begin:].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
