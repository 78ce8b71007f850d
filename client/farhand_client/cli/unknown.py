"""What was perhaps meant by a command of `farhand` that does not exist."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from farhand_client.config import config_directory, is_there, load_hosts
from farhand_client.errors import FarhandError
from farhand_protocol.sentences import shell_quoted

from .parser import suggestion

_MEANT: Final = {
    "ssh": "shell",
    "login": "shell",
    "connect": "shell",
    "exec": "run",
    "start": "run",
    "list": "ps",
    "ls": "ps",
    "jobs": "ps",
    "tail": "logs",
    "output": "logs",
    "stop": "kill",
    "cancel": "kill",
    **dict.fromkeys(("scp", "copy", "sftp"), "cp"),
    **dict.fromkeys(("push", "upload", "send"), "put"),
    **dict.fromkeys(("pull", "download", "fetch"), "get"),
    **dict.fromkeys(("rsync", "mirror"), "sync"),
    "help": "--help",
    "version": "--version",
    "-V": "--version",
    "-v": "--version",
}
"""What other programs call our commands."""


def command_meant(name: str, arguments: Sequence[str], commands: Collection[str]) -> str:
    """Return what was perhaps meant by `name`, which was typed with `arguments` and is none of `commands`.

    It begins with a semicolon; it is empty if nothing comes to mind.
    """
    if name.startswith("-") and name not in _MEANT:
        known = next((word for word in arguments if word in commands), None)
        where = f": farhand {known} {shell_quoted([name])} …" if known else ""
        return f"; options come after the command{where}"
    if _is_host(name):
        if not arguments:
            return f"; to open a shell on that host: farhand shell {shell_quoted([name])}"
        return f"; to run a command on that host: farhand run {shell_quoted([name, *arguments])}"
    meant = _MEANT.get(name.lower())
    return f"; did you mean {meant}?" if meant else suggestion(name, commands)


def _is_host(name: str) -> bool:
    if "@" in name or name.startswith("unix:"):
        return True
    try:
        config = config_directory() / "config.toml"
        return is_there(config) and name in load_hosts(config)
    except FarhandError:
        return False  # what is wrong with the file does not matter here
