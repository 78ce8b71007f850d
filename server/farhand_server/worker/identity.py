"""How a process of the service becomes a user, irrevocably."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38
"""linux/prctl.h"""


def become_user(uid: int, gid: int, groups: Sequence[int]) -> None:
    """Give this process exactly these ids; a process that was root loses all privileges. Raises OSError if anything
    fails, and then the process must not go on."""
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if os.getresuid() != (uid,) * 3 or os.getresgid() != (gid,) * 3:
        raise PermissionError


def give_up_privileges(*, die_with_parent: int = 0) -> None:
    """Prevent this process from getting new privileges, and others of its user from tracing it and reading its memory
    and descriptors. `die_with_parent` is the signal that it gets when its parent ends. Call this after `become_user`,
    which undoes it. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_NO_NEW_PRIVS, 1), (_PR_SET_DUMPABLE, 0), (_PR_SET_PDEATHSIG, die_with_parent)):
        if libc.prctl(option, ctypes.c_ulong(value), *[ctypes.c_ulong(0)] * 3) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
