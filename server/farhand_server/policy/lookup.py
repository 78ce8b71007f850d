"""The file system as the policy asks about it, and the groups of an account."""

from __future__ import annotations

import grp
import os
import stat

_EXECUTABLE = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


class FileSystem:
    """The real `Lookup`. A few system calls for each question; raises ValueError for a NUL byte, and nothing else."""

    def program(self, name: bytes, *, path: bytes, cwd: bytes) -> bytes | None:
        """Look for a program as execvp(3) does, with relative names and entries of `path` taken from `cwd`."""
        directories = [b""] if b"/" in name else path.split(b":")
        for directory in directories:
            candidate = os.path.join(cwd, directory, name)  # noqa: PTH118  # bytes, which a Path does not take
            if _is_program(candidate):
                above, _, last = candidate.rpartition(b"/")
                return self.directory(above or b"/").rstrip(b"/") + b"/" + last
        return None

    def directory(self, path: bytes) -> bytes:
        """realpath(3)."""
        return os.path.realpath(path)


def _is_program(path: bytes) -> bool:
    try:
        status = os.stat(path)  # noqa: PTH116  # bytes, which a Path does not take
    except (OSError, ValueError):
        return False
    # Whether this user may execute it is for the kernel to say, when it is executed as this user.
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & _EXECUTABLE)


def group_names(user: str, gid: int) -> frozenset[str]:
    """Return the names of the groups of an account whose primary group is `gid` (getgrouplist(3)).

    Groups without a name have none that a rule could give, and are left out.
    """
    names = set()
    for each in os.getgrouplist(user, gid):
        try:
            names.add(grp.getgrgid(each).gr_name)
        except KeyError:
            continue
    return frozenset(names)
