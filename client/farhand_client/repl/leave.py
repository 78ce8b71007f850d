"""The way out."""

from __future__ import annotations

from typing import Final


class Leave(Exception):
    """The REPL is to end, with this exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code: Final = code
