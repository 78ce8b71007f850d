"""A program's environment: the account's variables, those that the service adds, and those that the request may set."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from pathlib import Path
from typing import Final, Self

from farhand_server.credentials import DEFAULT_SHELL, Credentials

USER_PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
ROOT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""As login(1) sets them on Debian (ENV_PATH and ENV_SUPATH in login.defs(5))."""

DEFAULT_LANG: Final = "C.UTF-8"


class EnvironmentRefused(Exception):
    """The request sets a variable that the policy does not allow; the text names it."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Home:
    """An account's home directory, shell and environment, looked up once at login (passwd(5)).

    `directory` is the account's home, of which nobody has checked that it exists, and that the account may enter it.
    `credentials` are the ones that its programs run with, None for the service's own account.
    """

    shell: bytes
    directory: bytes
    environment: Mapping[bytes, bytes]
    credentials: Credentials | None = None

    @classmethod
    def of(cls, uid: int) -> Self:
        """Return the home of `uid`. If the account has no entry, its name is its number and its directory is `/`."""
        credentials = None if uid == os.geteuid() else _credentials(uid)
        try:
            entry = pwd.getpwuid(uid)
            name, home, shell = entry.pw_name, entry.pw_dir or "/", entry.pw_shell or DEFAULT_SHELL
        except KeyError:
            name, home, shell = str(uid), "/", DEFAULT_SHELL
        environment = {
            "HOME": home,
            "USER": name,
            "LOGNAME": name,
            "SHELL": shell,
            "PATH": ROOT_PATH if uid == 0 else USER_PATH,
            "LANG": os.environ.get("LANG", DEFAULT_LANG),
        }
        return cls(
            shell=os.fsencode(shell),
            directory=os.fsencode(home),
            environment={os.fsencode(key): os.fsencode(value) for key, value in environment.items()},
            credentials=credentials,
        )

    def resolve(self, wanted: bytes | None) -> bytes:
        """Return the directory in which a program starts: `wanted`, relative to the home directory, or else the home
        directory."""
        if wanted is None:
            return self.directory
        if wanted == b"~" or wanted.startswith(b"~/"):
            wanted = wanted[2:]
        return bytes(Path(os.fsdecode(self.directory), os.fsdecode(wanted)))

    def fallback(self, wanted: bytes | None) -> bytes:
        """Return the part of `resolve(wanted)` that is replaced by `/` if the account cannot enter it.

        It is the home directory, or empty if `wanted` is absolute."""
        return b"" if wanted is not None and wanted.startswith(b"/") else self.directory

    def build(
        self,
        *,
        requested: Iterable[tuple[bytes, bytes]],
        admitted: Collection[str],
        added: Mapping[bytes, bytes],
    ) -> dict[bytes, bytes]:
        """Return the whole environment of a program.

        `added` comes from the service (a key's `environment=` options); it is set unchanged, and a request cannot
        override it. The names in `requested` must match one of the shell patterns in `admitted`. Raises
        `EnvironmentRefused` for the first name that does not.
        """
        environment = dict(self.environment)
        # A request may have tens of thousands of variables.
        if "*" in admitted:
            environment.update(requested)
        else:
            admits = _compiled(tuple(admitted)).match
            for name, value in requested:
                if not admits(text := os.fsdecode(name)):
                    raise EnvironmentRefused(f"a request may not set the environment variable {text[:255]!a} here")
                environment[name] = value
        environment.update(added)
        return environment


@lru_cache(maxsize=4)  # there are two sets of patterns (`admission.plan`)
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)) or r"(?!)")


def _credentials(uid: int) -> Credentials:
    try:
        return Credentials.of(uid)
    except KeyError:
        return Credentials(str(uid), uid, uid, ())  # an account without an entry has no known groups
