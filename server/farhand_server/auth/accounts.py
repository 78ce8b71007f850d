"""Which accounts can be logged in to, and where their keys are."""

import os
import pwd
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from farhand_server.auth.principal import user_name


@dataclass(frozen=True, slots=True)
class Account:
    """An account and the authorized_keys files that admit to it, in the order they are looked through."""

    user: str
    uid: int
    home: Path
    key_files: tuple[Path, ...]


AccountLookup = Callable[[str], Account | None]
"""Finds an account by the name a client gave, which may be any text; None where nobody may log in as that."""


def own_account(key_files: tuple[Path, ...]) -> Account:
    """The account this process runs under."""
    uid = os.getuid()
    try:
        home = Path(pwd.getpwuid(uid).pw_dir)
    except KeyError:
        home = Path("/")
    return Account(user_name(uid), uid, home, key_files)


def only(account: Account) -> AccountLookup:
    """A lookup that knows a single account."""
    return lambda user: account if user == account.user else None
