"""Whether ssh's configuration says anything about particular hosts, found out without loading what reads it.

On most machines without a configuration of the user there is the one of the system, with an Include of an empty
directory and a `Host *`.
"""

from __future__ import annotations

import os

from farhand_client.directories import home

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

SYSTEM_CONFIG: Final = "/etc/ssh/ssh_config"

SSH_PORT: Final = 22
"""The port of sshd, which says nothing about where Farhand's service is."""

SSH_CONFIG_VARIABLE: Final = "FARHAND_SSH_CONFIG"
"""Names a file to read in place of the user's and the system's, as `-F` does for ssh; `none` for none."""


MAX_PLAIN_SIZE: Final = 16 * 1024
"""Bytes that are looked at: ten times what distributions install. A longer file counts as one with sections."""


def names_hosts() -> bool:
    """Return whether the files that are read by default may say something about some hosts and not about all."""
    named = os.environ.get(SSH_CONFIG_VARIABLE)
    if named:
        return named.lower() != "none"
    where = home()
    return (where is not None and os.path.exists(f"{where}/.ssh/config")) or _has_sections(SYSTEM_CONFIG)


def _has_sections(path: str) -> bool:
    """Return whether the file has a line `Match`, a `Host` for other than all, or an `Include` of what exists."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_PLAIN_SIZE + 1)
    except OSError:
        return False
    for line in data.splitlines():
        words = line.split(None, 1)
        keyword = words[0].lower() if words else b""
        if keyword.startswith((b"host=", b"include=")):
            return True
        if len(words) < 2:
            continue
        if keyword.startswith(b"match") or (keyword == b"host" and words[1].strip() != b"*"):
            return True
        if keyword.startswith(b"include") and not _includes_nothing(words[1]):
            return True
    return len(data) > MAX_PLAIN_SIZE


def _includes_nothing(pattern: bytes) -> bool:
    folder, _, name = pattern.strip().rpartition(b"/")
    suffix = name[1:]
    plain = folder.startswith(b"/") and name.startswith(b"*") and not {*folder, *suffix} & {*b" \t\"'*?[\\"}
    if not plain:
        return False
    try:
        return not any(each.endswith(suffix) and not each.startswith(b".") for each in os.listdir(folder))
    except FileNotFoundError:
        return True
    except OSError:
        return False
