"""Access to files with another user's rights, in the calling thread alone.

setfsuid(2), setfsgid(2) and the raw setgroups(2) system call change one thread, whereas glibc's setgroups() changes all
threads (nptl(7)).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import sys
from collections.abc import Iterator
from typing import Final

from farhand_server.credentials import Credentials

_SETGROUPS: Final = {
    "aarch64": 159,
    "loongarch64": 159,
    "ppc64": 81,
    "ppc64le": 81,
    "riscv64": 159,
    "s390x": 206,
    "x86_64": 116,
}
"""The system call number of setgroups(2) on 64-bit machines (asm/unistd.h)."""

_QUERY: Final = 0xFFFFFFFF
"""An invalid id, with which setfsuid(2) and setfsgid(2) change nothing and return the current id."""


@contextlib.contextmanager
def acting_as(credentials: Credentials | None) -> Iterator[None]:
    """Make the kernel check this thread's file accesses as the user's. None changes nothing.

    Do not await anything inside. Raises `OSError` if the change is not permitted or not supported on this machine.
    """
    if credentials is None:
        yield
        return
    own_uid, own_gid, own_groups = os.geteuid(), os.getegid(), tuple(os.getgroups())
    try:
        _set(credentials.uid, credentials.gid, credentials.groups)
        yield
    finally:
        # Restore the uid first: that restores the capabilities that the kernel has removed (capabilities(7)).
        _libc().setfsuid(own_uid)
        with contextlib.suppress(OSError):
            _set(own_uid, own_gid, own_groups)
        if not _is(own_uid, own_gid, own_groups):
            os.abort()  # otherwise the process would do everything as another user from here on


def _set(uid: int, gid: int, groups: tuple[int, ...]) -> None:
    _set_groups(groups)
    _libc().setfsgid(gid)
    _libc().setfsuid(uid)
    # Neither system call reports a failure (setfsuid(2), BUGS).
    if not _is(uid, gid, groups):
        raise PermissionError(errno.EPERM, f"the service cannot act as user {uid} with group {gid}")


def _is(uid: int, gid: int, groups: tuple[int, ...]) -> bool:
    libc = _libc()
    return (libc.setfsuid(_QUERY), libc.setfsgid(_QUERY)) == (uid, gid) and set(os.getgroups()) == set(groups)


def _set_groups(groups: tuple[int, ...]) -> None:
    number = _SETGROUPS.get(os.uname().machine) if sys.maxsize > 2**32 else None
    if number is None:
        raise OSError(errno.ENOSYS, f"acting as another user is not supported on {os.uname().machine}")
    array = (ctypes.c_uint32 * len(groups))(*groups)
    if _libc().syscall(ctypes.c_long(number), ctypes.c_size_t(len(groups)), array) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"setgroups: {os.strerror(code)}")


@functools.cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    for function in (libc.setfsuid, libc.setfsgid):
        function.argtypes = (ctypes.c_uint32,)
        function.restype = ctypes.c_uint32
    return libc
