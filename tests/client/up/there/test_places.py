"""Each account has its own places, and the system has its."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from farhand_client.up.there.places import FarPlaces


def test_an_account_has_everything_below_its_home() -> None:
    places = FarPlaces.of(system=False, environ={"HOME": "/h"})
    assert places.user == pwd.getpwuid(os.getuid()).pw_name
    assert places.farhandd == Path("/h/.local/share/farhand/current/bin/farhandd")
    assert places.record_file == Path("/h/.local/share/farhand/up.json")
    assert places.config_file == Path("/h/.config/farhand/farhandd.toml")
    assert places.log_file == Path("/h/.local/state/farhand/farhandd.log")
    assert places.units == Path("/h/.config/systemd/user")


def test_xdg_variables_move_them_if_they_are_absolute() -> None:
    environ = {"HOME": "/h", "XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s", "XDG_DATA_HOME": "relative"}
    places = FarPlaces.of(system=False, environ=environ)
    assert (places.config, places.state, places.base) == (
        Path("/c/farhand"),
        Path("/s/farhand"),
        Path("/h/.local/share/farhand"),
    )


def test_the_system_has_its_own_for_every_user_who_became_root() -> None:
    places = FarPlaces.of(system=True, environ={"SUDO_USER": "ann", "XDG_CONFIG_HOME": "/c"}, root=Path("/r"))
    assert (places.system, places.user) == (True, "ann")
    assert (places.base, places.config) == (Path("/r/opt/farhand"), Path("/r/etc/farhand"))
