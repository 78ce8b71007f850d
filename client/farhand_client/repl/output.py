"""Writes the output of programs and the REPL's messages to stdout and stderr.

Bytes of programs pass unchanged. Where lines go to several hosts, each line of output is labelled with its host.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final, Protocol

from farhand_client.descriptors import DescriptorWriter, descriptor_writer
from farhand_client.output import LineSplitter, OutputStream
from farhand_client.ui.printing import print_message
from farhand_protocol.limits import KiB
from farhand_protocol.sentences import printable

MAX_READY: Final = 64 * KiB
"""Bytes written at once. A terminal still shows them after Ctrl-C: some milliseconds' worth."""

MAX_LABELLED_LINE: Final = 64 * KiB
"""Bytes of a line that are held back until its end; a longer line is shown as several."""


class Output(Protocol):
    """Where the output of a host's programs goes, and the messages about them."""

    def print_message(self, text: str) -> None:
        """Show a message to the user, on stderr."""

    async def deliver(self, stream: OutputStream, fd: int) -> None:
        """Write all of `stream` to `fd`, 1 or 2. Raises OSError if `fd` cannot be written, and what `stream` raises."""

    async def write(self, fd: int, chunks: Sequence[bytes]) -> None:
        """Write all of `chunks`. Raises OSError."""


class StandardOutput:
    """stdout and stderr of this process. Implements `Output`."""

    def __init__(self) -> None:
        self._writers: dict[int, DescriptorWriter] = {1: descriptor_writer(1), 2: descriptor_writer(2)}
        self._newline = True
        """Whether the last byte written was a newline."""

    def print_message(self, text: str) -> None:
        """Implements `Output`."""
        print_message(text)

    async def deliver(self, stream: OutputStream, fd: int) -> None:
        """Implements `Output`."""
        while chunks := await stream.read_ready(MAX_READY):
            await self.write(fd, chunks)

    async def write(self, fd: int, chunks: Sequence[bytes]) -> None:
        """Implements `Output`."""
        await self._writers[fd].write(chunks)
        self._newline = chunks[-1].endswith(b"\n")

    def terminal_written(self, *, interrupted: bool) -> None:
        """Note that a program wrote to the terminal directly. If it was interrupted, its last line may be just ^C."""
        self._newline = interrupted

    async def to_line_start(self) -> None:
        """Begin a new line on the terminal, unless the cursor is at the start of one.

        Only the terminal knows where the cursor is, since it echoes what is typed. The trick is zsh's (PROMPT_SP,
        zshoptions(1)): a mark and a line's width of spaces reach into the next line, or are overwritten. The mark is
        visible if it was the program that ended without a newline.
        """
        columns = terminal_columns()
        mark = b" " if self._newline else b"\x1b[0;7m%\x1b[0m"
        await self.write(1, [mark + b" " * (columns - 1) + b"\r \r"])
        self._newline = True


class LabelledOutput:
    """The output of one of several hosts, each line labelled with the host's `name`. Implements `Output`."""

    def __init__(self, output: StandardOutput, name: str) -> None:
        self._output = output
        self._name = printable(name)

    def print_message(self, text: str) -> None:
        """Implements `Output`."""
        print_message(f"{self._name}: {text}")

    async def deliver(self, stream: OutputStream, fd: int) -> None:
        """Implements `Output`."""
        labeller = LineLabeller(self._name)
        try:
            while chunks := await stream.read_ready(MAX_READY):
                lines = [line for chunk in chunks for line in labeller.feed(chunk)]
                if lines:
                    await self._output.write(fd, lines)
        finally:
            if rest := labeller.rest():
                await self._output.write(fd, rest)

    async def write(self, fd: int, chunks: Sequence[bytes]) -> None:
        """Implements `Output`."""
        labeller = LineLabeller(self._name)
        lines = [line for chunk in chunks for line in labeller.feed(chunk)] + labeller.rest()
        if lines:
            await self._output.write(fd, lines)


class LineLabeller:
    """Splits one stream of one host into lines and puts `label` before each. No I/O."""

    def __init__(self, label: str) -> None:
        self._label = label.encode("utf-8", "backslashreplace") + b" | "
        self._splitter = LineSplitter(MAX_LABELLED_LINE)

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that `chunk` completes, labelled."""
        return [self._labelled(line) for line in self._splitter.feed(chunk)]

    def rest(self) -> list[bytes]:
        """Return the incomplete last line, labelled and with a newline, if there is one."""
        rest = self._splitter.rest()
        return [self._labelled(rest)] if rest else []

    def _labelled(self, line: bytes) -> bytes:
        return self._label + line if line.endswith(b"\n") else self._label + line + b"\n"


def terminal_columns() -> int:
    """Return the width of the terminal; 80 if it does not say, or has hung up."""
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80
