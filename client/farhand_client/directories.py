"""The directories of the client's files, and the port of a service: what every command needs before anything else.

The directories follow the XDG Base Directory Specification 0.8, by which a relative path in one of its variables is
ignored. Paths are str here: `pathlib` takes longer to import than a warm command takes altogether.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

DEFAULT_PORT: Final = 7022
"""The TCP port of a service unless HOST or `config.toml` names another."""

CONFIG_DIRECTORY: Final = ("XDG_CONFIG_HOME", ".config")
"""Where the client's configuration is: the variable that names the directory, and where it is below the home."""

STATE_DIRECTORY: Final = ("XDG_STATE_HOME", ".local/state")
"""The same for what the client keeps for itself."""


def home() -> str | None:
    """Return this user's home directory; None if HOME is not set and passwd(5) does not know the user."""
    found = os.path.expanduser("~")
    return None if found.startswith("~") else found


def directory(which: tuple[str, str], below: str | os.PathLike[str] | None) -> str | None:
    """Return the directory of Farhand that `which` stands for; it need not exist.

    `below` is the home directory; without one, the answer is None unless the variable is set.
    """
    variable, default = which
    base = os.environ.get(variable, "")
    if not base.startswith("/"):
        if below is None:
            return None
        base = os.path.join(below, default)
    return os.path.join(base, "farhand")
