"""What reaches the user's stdout and stderr: the programs' bytes as they are, our own words made harmless.

Whose line is whose, where several hosts write at once. No I/O.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final, Protocol

from farhand_client.output import LineSplitter, OutputStream
from farhand_client.ui.printing import print_message
from farhand_client.ui.streams import DescriptorWriter, descriptor_writer
from farhand_client.ui.text import printable
from farhand_protocol.limits import KiB

STEP: Final = 64 * KiB
"""Bytes written at once: so many a terminal still shows after Ctrl-C, some milliseconds' worth."""


class Output(Protocol):
    """Where the output of a host's programs goes, and what there is to say of it."""

    def say(self, text: str) -> None:
        """Tell the user something, on stderr."""

    async def deliver(self, stream: OutputStream, fd: int) -> None:
        """Write `stream` to its end. Raises OSError where that does not work, and what the stream does."""

    async def write(self, fd: int, chunks: Sequence[bytes]) -> None:
        """Write all of `chunks`. Raises OSError."""


class Files:
    """stdout and stderr of this process; an `Output`."""

    def __init__(self) -> None:
        self._writers: dict[int, DescriptorWriter] = {1: descriptor_writer(1), 2: descriptor_writer(2)}
        self._newline = True

    def say(self, text: str) -> None:
        """Output."""
        print_message(text)

    async def deliver(self, stream: OutputStream, fd: int) -> None:
        """Output."""
        while chunks := await stream.read_ready(STEP):
            await self.write(fd, chunks)

    async def write(self, fd: int, chunks: Sequence[bytes]) -> None:
        """Output."""
        await self._writers[fd].write(chunks)
        self._newline = chunks[-1].endswith(b"\n")

    def passed_by(self, *, interrupted: bool) -> None:
        """A program has written to the terminal itself. What is in its last line is perhaps only ^C."""
        self._newline = interrupted

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


class OfHost:
    """The output of one of several hosts: each line says whose it is. An `Output`."""

    def __init__(self, files: Files, name: str) -> None:
        self._files = files
        self._name = printable(name)

    def say(self, text: str) -> None:
        """Output."""
        print_message(f"{self._name}: {text}")

    async def deliver(self, stream: OutputStream, fd: int) -> None:
        """Output."""
        labelled = Labelled(self._name)
        try:
            while chunks := await stream.read_ready(STEP):
                lines = [line for chunk in chunks for line in labelled.feed(chunk)]
                if lines:
                    await self._files.write(fd, lines)
        finally:
            if rest := labelled.rest():
                await self._files.write(fd, rest)

    async def write(self, fd: int, chunks: Sequence[bytes]) -> None:
        """Output."""
        labelled = Labelled(self._name)
        lines = [line for chunk in chunks for line in labelled.feed(chunk)] + labelled.rest()
        if lines:
            await self._files.write(fd, lines)


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
