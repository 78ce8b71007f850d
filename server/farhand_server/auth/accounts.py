"""The accounts that clients can log in to, the files with their keys, and the principal that results from a login.

Root's service knows every account of passwd(5), and refuses those that sshd(8) without PAM would refuse; the service of
an ordinary account knows only that account.
"""

import ctypes
import functools
import os
import pwd
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from farhand_server.auth.authorized_keys import KeyOptions
from farhand_server.credentials import DEFAULT_SHELL, Credentials
from farhand_server.descriptors import check_descriptors

NO_LOGIN_SHELLS = frozenset({"nologin", "false"})
"""Shells that refuse everybody (nologin(8)). sshd(8) starts such a shell and leaves the refusal to it. Here, a program
is started without the shell, so the service itself must refuse."""


LoginMethod = Literal["key", "passkey", "peer"]


@dataclass(frozen=True, slots=True)
class Principal:
    """A peer that has logged in, with the restrictions from the line that authorized its key."""

    user: str
    uid: int
    how: LoginMethod
    """How the peer was identified: by a key's signature, by one that a browser had a passkey make, or by the kernel's
    peer credentials on a Unix socket."""
    fingerprint: str | None = None
    """The key's fingerprint, as `SHA256:…`; None for a local peer."""
    options: KeyOptions = field(default_factory=KeyOptions)
    by_own_line: bool = False
    """Whether the user could have written the file with the line, so that what the line adds counts as the user's own
    request."""


def peer_principal(uid: int) -> Principal:
    """Return the principal for a Unix socket's peer credentials (SO_PEERCRED, unix(7)).

    An account without a name is called by its number. The policy decides what it may do. Raises OSError if the service
    lacks descriptors: then no account would have a name.
    """
    check_descriptors()
    return Principal(user_name(uid), uid, "peer")


def user_name(uid: int) -> str:
    """Return the name of an account, or its number if it has no name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@dataclass(frozen=True, slots=True)
class Account:
    """An account and the authorized_keys files for logging in to it, in the order in which they are searched.

    Files below `home` are controlled by the user and are read with the rights of `reader`; None stands for the service.
    `closed` is the reason why nobody may log in to the account, whatever the files say.
    """

    user: str
    uid: int
    home: Path
    key_files: tuple[Path, ...]
    reader: Credentials | None = None
    closed: str | None = None

    def reader_of(self, path: Path) -> Credentials | None:
        """Return the credentials with which to read the file at `path`; None for the service's own."""
        return self.reader if path.is_relative_to(self.home) else None


AccountLookup = Callable[[str], Account | None]
"""Finds an account by the name that a client gave, which may be any text; None if nobody may log in under that name."""


def own_account(patterns: tuple[Path, ...]) -> Account:
    """Return the account that this process runs as. For `patterns` see `key_files`."""
    uid = os.geteuid()
    try:
        home = Path(pwd.getpwuid(uid).pw_dir)
    except KeyError:
        home = Path("/")
    user = user_name(uid)
    return Account(user, uid, home, key_files(patterns, user=user, home=home, own=True))


def only_account(account: Account) -> AccountLookup:
    """Return a lookup that knows a single account."""
    return lambda user: account if user == account.user else None


def every_account(patterns: tuple[Path, ...]) -> AccountLookup:
    """Return a lookup that knows every account of passwd(5), for root's service. For `patterns` see `key_files`.

    It raises OSError if the service lacks descriptors: then no account would be found.
    """

    def find(user: str) -> Account | None:
        entry = _passwd_entry(user)
        # Do the same work for a name without an account, so that the response time reveals nothing.
        account = _account(entry or pwd.getpwuid(os.geteuid()), patterns)
        return account if entry is not None else None

    return find


def key_files(patterns: tuple[Path, ...], *, user: str, home: Path, own: bool) -> tuple[Path, ...]:
    """Return the files that `login.authorized_keys` stands for, for one account.

    `~` at the beginning stands for the account's home, `{user}` anywhere for its name. A pattern with neither is a file
    for the service's own account only; otherwise a key in it could log in to every account of the machine.
    """
    files = []
    for pattern in patterns:
        text = str(pattern)
        if own or text.startswith("~/") or "{user}" in text:
            text = text.replace("{user}", user)
            files.append(home / text.removeprefix("~/") if text.startswith("~/") else Path(text))
    return tuple(files)


def _passwd_entry(user: str) -> pwd.struct_passwd | None:
    check_descriptors()
    try:
        entry = pwd.getpwnam(user)
    except (KeyError, ValueError):  # ValueError: a NUL, or text that cannot be encoded as a name
        return None
    # Some databases also find an account by other spellings of its name. Policy, log and files use only this spelling.
    if entry.pw_name != user or "/" in user or user in (".", ".."):
        return None
    return entry


def _account(entry: pwd.struct_passwd, patterns: tuple[Path, ...]) -> Account:
    user, uid = entry.pw_name, entry.pw_uid
    home = Path(entry.pw_dir if entry.pw_dir.startswith("/") else "/")
    return Account(
        user,
        uid,
        home,
        key_files(patterns, user=user, home=home, own=uid == os.geteuid()),
        reader=Credentials(user, uid, entry.pw_gid, tuple(os.getgrouplist(user, entry.pw_gid))),
        closed=_why_closed(entry),
    )


def _why_closed(entry: pwd.struct_passwd) -> str | None:
    # The rules of allowed_user() in OpenSSH's auth.c without PAM, and the shells that refuse everybody.
    shadow = shadow_entry(entry.pw_name)
    password = entry.pw_passwd if shadow is None else shadow.password
    shell = entry.pw_shell or DEFAULT_SHELL
    if shadow is not None and shadow.expires is not None and time.time() // 86400 > shadow.expires:
        return "it has expired (chage -l shows when)"
    if password.startswith("!"):
        return "it is locked: its password in shadow(5) begins with ! (usermod -p '*' unlocks it without a password)"
    if shell.rpartition("/")[2] in NO_LOGIN_SHELLS:
        return f"its shell is {shell}"
    try:
        mode = Path(shell).stat().st_mode
    except (OSError, ValueError):
        return f"its shell {shell} does not exist"
    if not stat.S_ISREG(mode) or not mode & (stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH):
        return f"its shell {shell} is not executable"
    return None


class Shadow(NamedTuple):
    """An account's entry in shadow(5).

    `password` is the encrypted password, or the text in its place. `expires` is the last day of the account, counted in
    days from 1970-01-01, or None.
    """

    password: str
    expires: int | None


def shadow_entry(user: str) -> Shadow | None:
    """Return an account's shadow(5) entry; None if it has none or the caller may not read it.

    This asks the C library, which also knows databases other than the file. Python removed its module for this, `spwd`,
    in 3.13.
    """
    found = _getspnam()(user.encode(errors="surrogateescape"))
    if not found:
        check_descriptors()
        return None
    entry = found.contents
    password = (entry.sp_pwdp or b"").decode(errors="replace")
    return Shadow(password, None if entry.sp_expire == -1 else entry.sp_expire)


class _Spwd(ctypes.Structure):
    """`struct spwd` from shadow.h, which is the same in glibc and musl."""

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


@functools.cache
def _getspnam() -> "ctypes._NamedFuncPointer":
    function = ctypes.CDLL(None).getspnam
    function.argtypes = (ctypes.c_char_p,)
    function.restype = ctypes.POINTER(_Spwd)
    return function
