"""Our own words on the user's terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeAlias

from farhand_client.cli.printable import printable

Say: TypeAlias = Callable[[str], None]
"""Tells the user something of ours."""


def say(text: str) -> None:
    """Tell the user something, on stderr, made harmless; where nobody can be told, nothing happens."""
    try:
        lines = "\n  ".join(map(printable, text.split("\n")))
        sys.stderr.write(f"farhand: {lines}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return
