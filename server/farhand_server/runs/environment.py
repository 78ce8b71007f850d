"""What a program finds around it: the account's environment, what the service adds, what the request may set."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, Self

USER_PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
ROOT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""As login(1) sets them on Debian (ENV_PATH and ENV_SUPATH in login.defs(5))."""

DEFAULT_LANG: Final = "C.UTF-8"


class EnvironmentRefused(Exception):
    """The request sets a variable that the policy does not admit; the text names it."""


@dataclass(frozen=True, slots=True)
class PasswdEntry:
    """Whom a run runs as, by the account database (passwd(5))."""

    name: str
    uid: int
    home: str
    shell: str

    @classmethod
    def of(cls, uid: int) -> Self:
        """Return the account of `uid`; an account without an entry is named by its number and lives in `/`."""
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            return cls(name=str(uid), uid=uid, home="/", shell="/bin/sh")
        return cls(name=entry.pw_name, uid=uid, home=entry.pw_dir or "/", shell=entry.pw_shell or "/bin/sh")

    def directory(self, wanted: bytes | None) -> bytes:
        """Return where the program starts: `wanted`, relative to the home; by default the home, or `/` without one."""
        home = Path(self.home)
        if wanted is None:
            return bytes(home) if home.is_dir() else b"/"
        if wanted == b"~" or wanted.startswith(b"~/"):
            wanted = wanted[2:]
        return bytes(home / os.fsdecode(wanted))


def build(
    account: PasswdEntry,
    *,
    requested: Iterable[tuple[bytes, bytes]],
    admitted: Iterable[str],
    added: Mapping[bytes, bytes],
) -> dict[bytes, bytes]:
    """Return the whole environment of a program.

    `added` is the service's word (a key's `environment=` options) and passes as it is; `requested` names have to
    match one of the shell patterns in `admitted`. Raises `EnvironmentRefused` for the first that does not.
    """
    environment = {
        "HOME": account.home,
        "USER": account.name,
        "LOGNAME": account.name,
        "SHELL": account.shell,
        "PATH": ROOT_PATH if account.uid == 0 else USER_PATH,
        "LANG": os.environ.get("LANG", DEFAULT_LANG),
    }
    encoded = {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}
    encoded.update(added)
    patterns = tuple(admitted)
    for name, value in requested:
        text = os.fsdecode(name)
        if not any(fnmatchcase(text, pattern) for pattern in patterns):
            raise EnvironmentRefused(f"the environment variable {text[:255]!a} may not be set by a request here")
        encoded[name] = value
    return encoded
