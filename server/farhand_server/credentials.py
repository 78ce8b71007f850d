"""A user's ids for the kernel."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from typing import Final, Self

DEFAULT_SHELL: Final = "/bin/sh"
"""The shell that an empty shell field in passwd(5) stands for."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A program's identity to the kernel. `groups` are the supplementary groups, which may include `gid`."""

    user: str
    uid: int
    gid: int
    groups: tuple[int, ...]

    @classmethod
    def of(cls, uid: int) -> Self:
        """Return the credentials of an account, from passwd(5) and group(5). Raises `KeyError` for an unknown uid."""
        entry = pwd.getpwuid(uid)
        return cls(entry.pw_name, uid, entry.pw_gid, tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)))
