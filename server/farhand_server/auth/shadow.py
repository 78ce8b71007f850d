"""An account's line of shadow(5), asked of the C library, which also knows databases other than the file.

Python had a module for it, `spwd`, until 3.12.
"""

import ctypes
import functools
from typing import NamedTuple


class _Spwd(ctypes.Structure):
    """struct spwd of shadow.h, the same in glibc and musl."""

    _fields_ = (
        ("sp_namp", ctypes.c_char_p),
        ("sp_pwdp", ctypes.c_char_p),
        ("sp_lstchg", ctypes.c_long),
        ("sp_min", ctypes.c_long),
        ("sp_max", ctypes.c_long),
        ("sp_warn", ctypes.c_long),
        ("sp_inact", ctypes.c_long),
        ("sp_expire", ctypes.c_long),
        ("sp_flag", ctypes.c_ulong),
    )


class Shadow(NamedTuple):
    """`password` is the encrypted one, or what stands in its place; `expires` the last day of the account, counted
    from 1970-01-01, or None."""

    password: str
    expires: int | None


def shadow_entry(user: str) -> Shadow | None:
    """Look an account up; None where it has no line, or the caller may not read it."""
    found = _getspnam()(user.encode(errors="surrogateescape"))
    if not found:
        return None
    line = found.contents
    password = (line.sp_pwdp or b"").decode(errors="replace")
    return Shadow(password, None if line.sp_expire == -1 else line.sp_expire)


@functools.cache
def _getspnam() -> "ctypes._NamedFuncPointer":
    function = ctypes.CDLL(None).getspnam
    function.argtypes = (ctypes.c_char_p,)
    function.restype = ctypes.POINTER(_Spwd)
    return function
