"""Whether logind may end an ordinary user's service, or remove its sockets, when the user logs out."""

from __future__ import annotations

import os
import pwd
from pathlib import Path


def lingering_warning(socket: Path, *, uid: int | None = None, root: Path = Path("/")) -> str | None:
    """Return a warning for a service with this socket if the user does not linger (loginctl(1)); None if it does.

    A service that does not belong to a user's session needs no lingering: root's, and one that a system unit starts
    as an ordinary user. `root` is where /proc, /run and /var are.
    """
    uid = os.geteuid() if uid is None else uid
    removed = root / f"run/user/{uid}"
    try:
        in_session = f"/user-{uid}.slice/" in (root / "proc/self/cgroup").read_text()
        name = pwd.getpwuid(uid).pw_name
    except (OSError, KeyError):
        return None
    if uid == 0 or not (in_session or socket.is_relative_to(removed)):
        return None
    if (root / "var/lib/systemd/linger" / name).exists():
        return None
    return (
        f"lingering is off: when {name} logs out, logind removes {removed} and may end this service; "
        f"to prevent that: loginctl enable-linger {name}"
    )
