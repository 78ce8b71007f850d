"""Where a destination of ssh leads, and the command line for `farhand up`."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import Final

from farhand_client.connection.ssh_program import NO_OTHER_USES
from farhand_client.errors import AddressError

CONFIG_TIMEOUT: Final = 15.0
"""Seconds for `ssh -G`, which may ask programs (Match exec)."""

OWN_OPTIONS: Final = (
    *NO_OTHER_USES,
    # A connection that has been dead for a minute ends: nobody has to guess whether something is still going on.
    "ServerAliveInterval=15",
    "ServerAliveCountMax=4",
)
"""The options of ssh_config(5) for the connection of `farhand up`."""


@dataclass(frozen=True, slots=True)
class SshDestination:
    """Where ssh connects to: `text` is what the user wrote, the rest what ssh makes of it."""

    text: str
    host: str
    user: str | None
    direct: bool
    """Whether ssh connects to that host itself: no ProxyJump, no ProxyCommand."""

    @property
    def name(self) -> str:
        """What the user calls the machine."""
        name = self.text.rpartition("@")[2]
        return name[1:-1] if name.startswith("[") and name.endswith("]") else name


def destination(ssh: str, text: str) -> SshDestination:
    """Return what ssh makes of a destination, `[user@]host`. Raises `AddressError`."""
    if not text.strip() or text.startswith("-") or any(char.isspace() or not char.isprintable() for char in text):
        raise AddressError(f"{text!r} is not a destination for ssh; write [user@]HOST")
    if "://" in text or text.startswith(("unix:", "ssh:")):
        raise AddressError(f"{text!r} is not a destination for ssh; write [user@]HOST, and the port in ~/.ssh/config")
    user, at, host = text.rpartition("@")
    settings = _settings(ssh, text)
    # As ssh, which compares with "none".
    direct = all(settings.get(key, "none") == "none" for key in ("proxyjump", "proxycommand"))
    return SshDestination(text, settings.get("hostname", host), settings.get("user", user if at else None), direct)


def up_words(ssh: str, text: str, command: str) -> list[str]:
    """Return the command line that runs `command` on the other machine."""
    return [ssh, "-T", "-e", "none", *(word for option in OWN_OPTIONS for word in ("-o", option)), "--", text, command]


def _settings(ssh: str, text: str) -> dict[str, str]:
    """Return what `ssh -G` prints; nothing for a program that does not know it, such as dbclient."""
    try:
        done = subprocess.run(
            [ssh, "-G", "--", text],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=CONFIG_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    if done.returncode != 0:
        return {}
    lines = (line.partition(" ") for line in done.stdout.decode(errors="replace").splitlines())
    return {key: value for key, _, value in lines if value}
