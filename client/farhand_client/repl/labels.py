"""Whose line is whose, where several hosts write at once. No I/O."""

from __future__ import annotations

from typing import Final

from farhand_client.output import LineSplitter
from farhand_protocol.limits import KiB

LONGEST: Final = 64 * KiB
"""Bytes of a line that wait for its end; what is longer is shown as several."""


class Labelled:
    """One stream of one host, cut into lines that begin with whose they are."""

    def __init__(self, label: str) -> None:
        self._label = label.encode("utf-8", "backslashreplace") + b" | "
        self._splitter = LineSplitter(LONGEST)

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that `chunk` ends."""
        return [self._whole(line) for line in self._splitter.feed(chunk)]

    def rest(self) -> list[bytes]:
        """Return the line that has no end, with one."""
        rest = self._splitter.rest()
        return [self._whole(rest)] if rest else []

    def _whole(self, line: bytes) -> bytes:
        return self._label + line if line.endswith(b"\n") else self._label + line + b"\n"
