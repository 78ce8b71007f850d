"""The program ssh: where it is, and where a destination leads."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from farhand_client.errors import AddressError, ConnectError

SSH_VARIABLE: Final = "FARHAND_SSH"
"""The environment variable that names the program to use as ssh."""

SHIM_MARK: Final = b"farhand"
"""What the first bytes of a shim contain that `farhand install-shims` has written: it would lead back to us."""

_SHIM_SIZE: Final = 4096
"""Bytes in which that is looked for: a shim is a script of some lines."""

CONFIG_TIMEOUT: Final = 15.0
"""Seconds for `ssh -G`, which may ask programs (Match exec)."""

OWN_OPTIONS: Final = (
    # Whatever ssh's configuration says for other uses of the host.
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
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


def find_ssh(environ: Mapping[str, str] = os.environ) -> str:
    """Return the path of ssh: `FARHAND_SSH`, or the first in PATH that is no shim of ours. Raises `ConnectError`."""
    chosen = environ.get(SSH_VARIABLE)
    if chosen:
        found = shutil.which(chosen, path=environ.get("PATH"))
        if found is None:
            raise ConnectError(f"{SSH_VARIABLE} is {chosen}, which is not a program that can be run")
        return found
    for directory in environ.get("PATH", os.defpath).split(os.pathsep):
        found = shutil.which("ssh", path=directory or os.curdir)
        if found is not None and not _is_shim(Path(found)):
            return found
    raise ConnectError(f"there is no ssh in PATH; install OpenSSH's client, or name the program in {SSH_VARIABLE}")


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


def _is_shim(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            begin = file.read(_SHIM_SIZE)
    except OSError:
        return False
    return begin.startswith(b"#!") and SHIM_MARK in begin
