"""Terminal emulators to compare with: pyte, which is fast and runs in this process, and tmux, which people use."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pyte

from farhand_client.terminal.grid import DEFAULT_ATTRIBUTES, apply_sgr

FLAGS = (
    "#{cursor_x} #{cursor_y} #{cursor_flag} alternate=#{alternate_on} insert=#{insert_flag} origin=#{origin_flag}"
    " wrap=#{wrap_flag} region=#{scroll_region_upper}-#{scroll_region_lower} keypad=#{keypad_flag}"
    " keys=#{keypad_cursor_flag} mouse=#{mouse_any_flag} title=#{pane_title}"
)


class Reference(pyte.Screen):
    """A screen of pyte, fed with bytes. It supports neither alternate screens nor control strings other than titles."""

    def __init__(self, columns: int, rows: int, *output: bytes) -> None:
        super().__init__(columns, rows)
        self._stream = pyte.ByteStream(self)
        for data in output:
            self.feed(data)

    def feed(self, data: bytes) -> None:
        """Process more output."""
        self._stream.feed(data)

    # Corrections where pyte differs from terminals: it neither erases nor deletes cells that were never written, leaves
    # the cursor in place when the scrolling region is reset, and moves a cursor outside of the region into it.

    def ensure_vbounds(self, use_margins: bool | None = None) -> None:
        super().ensure_vbounds()

    def erase_in_display(self, how: int = 0, *args: Any, **kwargs: Any) -> None:
        self._materialize()
        super().erase_in_display(how)

    def delete_lines(self, count: int | None = None) -> None:
        self._materialize()
        super().delete_lines(count)

    def insert_lines(self, count: int | None = None) -> None:
        self._materialize()
        super().insert_lines(count)

    def _materialize(self) -> None:
        for row in range(self.lines):
            line = self.buffer[row]
            line.update({column: line[column] for column in range(self.columns)})

    def set_margins(self, top: int | None = None, bottom: int | None = None) -> None:
        super().set_margins(top, bottom)
        if self.margins is None:
            self.cursor_position()

    def cursor_down(self, count: int | None = None) -> None:
        last = self.lines - 1 if self.margins is None or self.cursor.y > self.margins.bottom else self.margins.bottom
        self.cursor.y = min(self.cursor.y + (count or 1), last)

    def cursor_up(self, count: int | None = None) -> None:
        first = 0 if self.margins is None or self.cursor.y < self.margins.top else self.margins.top
        self.cursor.y = max(self.cursor.y - (count or 1), first)

    @property
    def state(self) -> dict[str, Any]:
        """Everything that is visible, and everything that later output depends on."""
        column = self.cursor.x if pyte.modes.DECAWM in self.mode else min(self.cursor.x, self.columns - 1)
        return {
            "rows": [[_visible(self.buffer[y][x]) for x in range(self.columns)] for y in range(self.lines)],
            "cursor": (column, self.cursor.y, self.cursor.hidden, self.cursor.attrs),
            "modes": self.mode,
            "margins": self.margins,
            "title": self.title,
        }


def _visible(char: pyte.screens.Char) -> pyte.screens.Char:
    """Return `char` without the foreground colour of a blank, which is invisible but kept when a row is erased."""
    return char if char.data != " " or char.reverse else char._replace(fg="default")


class Tmux:
    """A pane of tmux, to which a program writes the output to be shown."""

    def __init__(self, directory: Path) -> None:
        self._data = directory / "output"
        self._socket = directory / "tmux"
        self.tmux("-f", "/dev/null", "new-session", "-d", "exec sleep 1000")
        self.tmux("set", "-g", "status", "off")

    def tmux(self, *arguments: str) -> str:
        """Run a tmux command; return its output."""
        command = ["tmux", "-S", str(self._socket), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def shown(self, columns: int, rows: int, output: bytes) -> tuple[list[list[tuple[str, Any]]], str]:
        """Return the characters with their attributes, and the modes, after `output` on a terminal of this size."""
        self._data.write_bytes(b"\x1bc\x1b]2;before\x07" + output)
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))
        # Once tmux has answered a query, it has processed all earlier output.
        query = "printf '\\033[5n'; head -c 4 >/dev/null"
        program = (
            f"stty raw -echo; cat {self._data}; {query}; tmux -S {self._socket} wait-for -S shown; exec sleep 1000"
        )
        self.tmux("respawn-pane", "-k", program)
        self.tmux("wait-for", "shown")
        return cells(self.tmux("capture-pane", "-e", "-p", "-N")), self.tmux("display-message", "-p", FLAGS)

    def close(self) -> None:
        """Stop the server."""
        self.tmux("kill-server")


def cells(text: str) -> list[list[tuple[str, Any]]]:
    """Return the characters of a capture of tmux, with their attributes, row by row."""
    attributes = DEFAULT_ATTRIBUTES
    rows = []
    for line in text.split("\n"):
        row: list[tuple[str, Any]] = []
        for match in re.finditer(r"\x1b\[([0-9;]*)m|(.)", line):
            if match[2] is None:
                attributes = apply_sgr(attributes, match[1])
            else:
                row.append((match[2], attributes))
        while row and row[-1][0] == " ":
            row.pop()  # tmux does not consistently distinguish blanks from cells that were never written
        rows.append(row)
    return rows
