"""Where the client's files live (XDG Base Directory Specification 0.8: relative paths in its variables are ignored)."""

from __future__ import annotations

import os
from pathlib import Path


def config_directory() -> Path:
    """Return `$XDG_CONFIG_HOME/farhand`, by default `~/.config/farhand`. It need not exist."""
    return _directory("XDG_CONFIG_HOME", ".config")


def state_directory() -> Path:
    """Return `$XDG_STATE_HOME/farhand`, by default `~/.local/state/farhand`. It need not exist."""
    return _directory("XDG_STATE_HOME", ".local/state")


def _directory(variable: str, default: str) -> Path:
    base = os.environ.get(variable, "")
    return Path(base if base.startswith("/") else Path.home() / default, "farhand")
