"""The places of a service below a test's directory, as `farhand up` knows them."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from farhand_client.up.there.places import FarPlaces


def far_places(home: Path) -> FarPlaces:
    """Return the places of an account whose home is `home`; whoever runs the test."""
    return FarPlaces(
        system=False,
        user=pwd.getpwuid(os.getuid()).pw_name,
        home=home,
        base=home / ".local/share/farhand",
        commands=home / ".local/bin",
        config=home / ".config/farhand",
        state=home / ".local/state/farhand",
        units=home / ".config/systemd/user",
    )


def tree_of(directory: Path) -> list[str]:
    """Return everything below `directory`, for comparing."""
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))
