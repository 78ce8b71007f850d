"""What the policy needs to know about the machine: files as the user would find them, and a principal's groups and
home."""

from __future__ import annotations

import grp
import os
import pwd
import stat

from farhand_server.auth.accounts import Principal
from farhand_server.credentials import Credentials, acting_as
from farhand_server.runs.environment import Home

from .subject import Subject

_EXECUTABLE = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


class FileSystem:
    """The real `Lookup`, with the rights of `user` (default: the service's own).

    The user's rights matter: a search by the user would not find a program that the user cannot access, and even root
    may be unable to access a home directory (NFS). Each method takes a few system calls, and raises ValueError for a
    NUL byte, and whatever `acting_as` raises.
    """

    def __init__(self, user: Credentials | None = None) -> None:
        self._user = user

    def program(self, name: bytes, *, path: bytes, cwd: bytes) -> bytes | None:
        """Search for a program as execvp(3) does. Relative names and relative entries of `path` are relative to
        `cwd`."""
        directories = [b""] if b"/" in name else path.split(b":")
        with acting_as(self._user):
            for directory in directories:
                candidate = os.path.join(cwd, directory, name)  # noqa: PTH118  # bytes, which Path does not accept
                if _is_program(candidate):
                    above, _, last = candidate.rpartition(b"/")
                    return os.path.realpath(above or b"/").rstrip(b"/") + b"/" + last
        return None

    def directory(self, path: bytes) -> bytes:
        """Return a directory without symbolic links, by realpath(3)."""
        with acting_as(self._user):
            return os.path.realpath(path)


def _is_program(path: bytes) -> bool:
    try:
        status = os.stat(path)  # noqa: PTH116  # bytes, which Path does not accept
    except (OSError, ValueError):
        return False
    # Whether the user may execute it is for the kernel to decide when the file is executed as that user.
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & _EXECUTABLE)


def group_names(user: str, gid: int) -> frozenset[str]:
    """Return the names of the groups of an account whose primary group is `gid` (getgrouplist(3)).

    Groups without a name are omitted, because no rule could name them.
    """
    names = set()
    for each in os.getgrouplist(user, gid):
        try:
            names.add(grp.getgrgid(each).gr_name)
        except KeyError:
            continue
    return frozenset(names)


def subject_of(principal: Principal, home: Home) -> Subject:
    """Return the subject for a principal. An account without an entry in passwd(5) is in no group."""
    try:
        groups = group_names(principal.user, pwd.getpwuid(principal.uid).pw_gid)
    except KeyError:
        groups = frozenset()
    directory = home.environment.get(b"HOME", b"/")
    return Subject(
        user=principal.user,
        uid=principal.uid,
        groups=groups,
        fingerprint=principal.fingerprint,
        local=principal.how == "peer",
        forced=principal.options.command is not None,
        # With the root directory as home, `~` would match every directory.
        home=b"" if directory == b"/" else directory,
    )
