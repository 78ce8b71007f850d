"""The program ssh: which one it is, and its arguments for a connection to the service of another machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from farhand_client.errors import ConnectError

if TYPE_CHECKING:
    from .address import Address

SSH_VARIABLE: Final = "FARHAND_SSH"
"""The environment variable that names another program to use as ssh."""

SHIM_MARK: Final = b"farhand"
"""What a script called ssh contains that `farhand install-shims` has written: it would lead back to us."""

_SHIM_SIZE: Final = 4096
"""Bytes in which that is looked for: a shim is a script of some lines."""

NO_OTHER_USES: Final = (
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
)
"""Options that leave out what ssh's configuration says for other uses of a host."""

_INSTALLED: Final = (
    "$HOME/.local/bin",
    "$HOME/.local/share/farhand/bin",
    "${XDG_DATA_HOME:-$HOME/.local/share}/farhand/current/bin",
    "/usr/local/bin",
    "/opt/farhand/current/bin",
)
"""Where `farhandd` is also looked for: what `farhand up` makes. Shells that are no login shells have a short PATH."""

REMOTE_COMMAND: Final = f"sh -c 'PATH=\"$PATH:{':'.join(_INSTALLED)}\"; exec farhandd stdio'"
"""What is to be executed there. Every login shell, csh and fish too, leaves a text in single quotes as it is."""


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
        if found is not None and not is_shim(found):
            return found
    raise ConnectError(f"there is no ssh in PATH; install OpenSSH's client, or name the program in {SSH_VARIABLE}")


def is_shim(path: str) -> bool:
    """Return whether the program at `path` is one of `farhand install-shims`."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # a path of PATH, as text
            beginning = file.read(_SHIM_SIZE)
    except OSError:
        return False
    return beginning.startswith(b"#!") and SHIM_MARK in beginning


def ssh_words(ssh: str, address: Address, *, asks: bool, own: bool, timeout: float) -> Sequence[str]:
    """Return the command line that leads to the service at `address`.

    ssh asks the user, at the terminal, only if `asks`. It uses a shared connection (ControlMaster) only if not `own`,
    and never is one itself. It has `timeout` seconds for each address.
    """
    options = [
        *NO_OTHER_USES,
        "RequestTTY=no",
        "ControlMaster=no",
        f"BatchMode={'no' if asks else 'yes'}",
        f"ConnectTimeout={max(1, round(timeout))}",
    ]
    if own:
        options.append("ControlPath=none")
    words = [ssh, "-e", "none"]
    words += [word for option in options for word in ("-o", option)]
    if address.port:
        words += ["-p", str(address.port)]
    if address.user is not None:
        words += ["-l", address.user]
    return [*words, "--", address.host, REMOTE_COMMAND]
