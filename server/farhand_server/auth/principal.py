"""Who a peer proved to be."""

import pwd
from dataclasses import dataclass, field
from typing import Literal

from farhand_server.auth.authorized_keys import KeyOptions


@dataclass(frozen=True, slots=True)
class Principal:
    """A peer that has logged in, and what the line that admitted it takes away."""

    user: str
    uid: int
    how: Literal["key", "peer"]
    """By a key's signature, or by the kernel's word on the other end of a Unix socket."""
    fingerprint: str | None = None
    """Of the key, as `SHA256:…`; None for a peer."""
    options: KeyOptions = field(default_factory=KeyOptions)
    by_own_line: bool = False
    """The line is in a file that the user could have written: what it adds is then no more than the user's wish."""


def peer_principal(uid: int) -> Principal:
    """The principal for a Unix socket's peer credentials (SO_PEERCRED, unix(7)).

    An account without a name is called by its number. What it may do is for the policy to say.
    """
    return Principal(user_name(uid), uid, "peer")


def user_name(uid: int) -> str:
    """The name of an account, or its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
