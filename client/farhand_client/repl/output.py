"""What reaches the user's stdout and stderr: the programs' bytes as they are, our own words made harmless."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from farhand_client.cli.printable import printable
from farhand_client.cli.writer import Writer, writer
from farhand_client.output import OutputStream
from farhand_protocol.limits import KiB

STEP: Final = 64 * KiB
"""Bytes written at once: so many a terminal still shows after Ctrl-C, some milliseconds' worth."""


def say(text: str) -> None:
    """Tell the user something, on stderr; where nobody can be told, nothing happens."""
    try:
        lines = "\n  ".join(map(printable, text.split("\n")))
        sys.stderr.write(f"farhand: {lines}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return


class Output:
    """stdout and stderr of this process."""

    def __init__(self) -> None:
        self._writers: dict[int, Writer] = {1: writer(1), 2: writer(2)}
        self._newline = True

    async def deliver(self, stream: OutputStream, fd: int) -> None:
        """Write `stream` to its end. Raises OSError where that does not work, `ConnectionLost` as the stream does."""
        while chunks := await stream.read_ready(STEP):
            await self.write(fd, chunks)

    async def write(self, fd: int, chunks: Sequence[bytes]) -> None:
        """Write all of `chunks`. Raises OSError."""
        await self._writers[fd].write(chunks)
        self._newline = chunks[-1].endswith(b"\n")

    async def to_line_start(self) -> None:
        """Begin a new line on the terminal, unless the cursor is at the start of one.

        Where the cursor is only the terminal knows: it echoes what is typed. The trick is zsh's (PROMPT_SP,
        zshoptions(1)): a mark and a line's width of spaces reach into the next line, or are overwritten. The mark is
        seen where it was the program that ended without a newline.
        """
        columns = os.get_terminal_size(1).columns
        mark = b" " if self._newline else b"\x1b[0;7m%\x1b[0m"
        await self.write(1, [mark + b" " * (columns - 1) + b"\r \r"])
        self._newline = True
