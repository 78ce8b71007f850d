"""A user's numbers as the kernel counts them, and looking at files with that user's rights.

Only the calling thread changes: setfsuid(2), setfsgid(2) and the bare setgroups(2) are attributes of a thread, where
glibc's own setgroups() would go through all of them (nptl(7)).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import pwd
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

_SETGROUPS: Final = {
    "aarch64": 159,
    "loongarch64": 159,
    "ppc64": 81,
    "ppc64le": 81,
    "riscv64": 159,
    "s390x": 206,
    "x86_64": 116,
}
"""The number of setgroups(2) on machines of 64 bits (asm/unistd.h)."""

DEFAULT_SHELL: Final = "/bin/sh"
"""What an empty shell field of passwd(5) means."""

_QUERY: Final = 0xFFFFFFFF
"""No valid id: setfsuid(2) and setfsgid(2) then change nothing and return what holds."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who a program is to the kernel: `groups` are the supplementary ones, `gid` perhaps among them."""

    user: str
    uid: int
    gid: int
    groups: tuple[int, ...]

    @classmethod
    def of(cls, uid: int) -> Self:
        """Look an account up in passwd(5) and group(5). Raises `KeyError` for a uid without an entry there."""
        entry = pwd.getpwuid(uid)
        return cls(entry.pw_name, uid, entry.pw_gid, tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)))


@contextlib.contextmanager
def acting_as(credentials: Credentials | None) -> Iterator[None]:
    """Let the kernel judge this thread's access to files as it would the user's; for None change nothing.

    Nothing may be awaited inside. Raises `OSError` where the change is not allowed, or not known on this machine.
    """
    if credentials is None:
        yield
        return
    own_uid, own_gid, own_groups = os.geteuid(), os.getegid(), tuple(os.getgroups())
    try:
        _set(credentials.uid, credentials.gid, credentials.groups)
        yield
    finally:
        # The uid first: with it come back the capabilities that the kernel took away (capabilities(7)).
        _libc().setfsuid(own_uid)
        with contextlib.suppress(OSError):
            _set(own_uid, own_gid, own_groups)
        if not _is(own_uid, own_gid, own_groups):
            os.abort()  # whatever this process did from here on, it would do as somebody else


def _set(uid: int, gid: int, groups: tuple[int, ...]) -> None:
    _set_groups(groups)
    _libc().setfsgid(gid)
    _libc().setfsuid(uid)
    # Neither of the two reports a failure (setfsuid(2), BUGS).
    if not _is(uid, gid, groups):
        raise PermissionError(errno.EPERM, f"the service cannot act as user {uid} with group {gid}")


def _is(uid: int, gid: int, groups: tuple[int, ...]) -> bool:
    libc = _libc()
    return (libc.setfsuid(_QUERY), libc.setfsgid(_QUERY)) == (uid, gid) and set(os.getgroups()) == set(groups)


def _set_groups(groups: tuple[int, ...]) -> None:
    number = _SETGROUPS.get(os.uname().machine) if sys.maxsize > 2**32 else None
    if number is None:
        raise OSError(errno.ENOSYS, f"acting as another user is not known on {os.uname().machine}")
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
