"""Which accounts can be logged in to, and where their keys are.

A service of root's knows every account of passwd(5), and closes those that sshd(8) without PAM would refuse; a
service of an ordinary account knows that account alone.
"""

import os
import pwd
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from farhand_server.auth.principal import user_name
from farhand_server.auth.shadow import shadow_entry
from farhand_server.credentials import Credentials

DEFAULT_SHELL = "/bin/sh"
"""What an empty field means (passwd(5))."""

NO_LOGIN_SHELLS = frozenset({"nologin", "false"})
"""Shells that turn everybody away (nologin(8)). sshd(8) starts them and leaves that to them; here a program is
started without the shell, so the service has to turn away itself."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account and the authorized_keys files that admit to it, in the order they are looked through.

    Files below `home` are the user's to arrange, and are read with the rights of `reader`; None is the service itself.
    `closed` says why nobody may log in to it, whatever the files say.
    """

    user: str
    uid: int
    home: Path
    key_files: tuple[Path, ...]
    reader: Credentials | None = None
    closed: str | None = None

    def reader_of(self, path: Path) -> Credentials | None:
        """Whose rights the file at `path` is to be read with."""
        return self.reader if path.is_relative_to(self.home) else None

    def may_have_written(self, path: Path) -> bool:
        """Whether a key file could be the user's own word: it, or a directory or link that leads to it, is the user's.

        That of the service's own account is the service's word. For files that `read_key_file` has accepted.
        """
        if self.uid == os.geteuid():
            return False
        real = Path(os.path.realpath(path))
        try:
            return any(each.lstat().st_uid == self.uid for each in (path, *path.parents, real, *real.parents))
        except OSError:
            return True


AccountLookup = Callable[[str], Account | None]
"""Finds an account by the name a client gave, which may be any text; None where nobody may log in as that."""


def own_account(patterns: tuple[Path, ...]) -> Account:
    """The account this process runs under; `patterns` as in `key_files`."""
    uid = os.geteuid()
    try:
        home = Path(pwd.getpwuid(uid).pw_dir)
    except KeyError:
        home = Path("/")
    user = user_name(uid)
    return Account(user, uid, home, key_files(patterns, user=user, home=home, own=True))


def only(account: Account) -> AccountLookup:
    """A lookup that knows a single account."""
    return lambda user: account if user == account.user else None


def every(patterns: tuple[Path, ...]) -> AccountLookup:
    """A lookup that knows every account of passwd(5); for a service of root's. `patterns` as in `key_files`."""

    def find(user: str) -> Account | None:
        entry = _entry(user)
        # All of it is done for a name that nobody has, too: how long an answer takes must not tell.
        account = _account(entry or pwd.getpwuid(os.geteuid()), patterns)
        return account if entry is not None else None

    return find


def key_files(patterns: tuple[Path, ...], *, user: str, home: Path, own: bool) -> tuple[Path, ...]:
    """The files that `login.authorized_keys` means for one account.

    `~` at the beginning is its home, `{user}` anywhere its name. A pattern with neither is the file of the service's
    own account and of no other: a key in it would open every account of the machine.
    """
    found = []
    for pattern in patterns:
        text = str(pattern)
        if own or text.startswith("~/") or "{user}" in text:
            text = text.replace("{user}", user)
            found.append(home / text.removeprefix("~/") if text.startswith("~/") else Path(text))
    return tuple(found)


def _entry(user: str) -> pwd.struct_passwd | None:
    try:
        entry = pwd.getpwnam(user)
    except (KeyError, ValueError):  # ValueError: a NUL, or text that no name can be encoded from
        return None
    # Some databases also know other spellings of a name; policy, log and files know this one.
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
    """The rules of allowed_user() in OpenSSH's auth.c without PAM, and the shells that turn everybody away."""
    shadow = shadow_entry(entry.pw_name)
    password = entry.pw_passwd if shadow is None else shadow.password
    shell = entry.pw_shell or DEFAULT_SHELL
    if shadow is not None and shadow.expires is not None and time.time() // 86400 > shadow.expires:
        return "it has expired (chage -l shows when)"
    if password.startswith("!"):
        return "it is locked: its password in shadow(5) begins with ! (usermod -p '*' leaves it without one, unlocked)"
    if shell.rpartition("/")[2] in NO_LOGIN_SHELLS:
        return f"its shell is {shell}"
    try:
        mode = Path(shell).stat().st_mode
    except (OSError, ValueError):
        return f"its shell {shell} does not exist"
    if not stat.S_ISREG(mode) or not mode & (stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH):
        return f"its shell {shell} is not executable"
    return None
