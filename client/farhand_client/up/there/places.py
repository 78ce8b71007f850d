"""Where things are on the other machine: an account's own places, or the system's."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

RECORD_NAME: Final = "up.json"
"""The file in `base` that says what `farhand up` has made."""

CURRENT: Final = "current"
"""The symbolic link in `base` to the installation in use."""


@dataclass(frozen=True, slots=True)
class FarPlaces:
    """The places of one service. `user` is the account that logs in; `system` says whether the service is root's."""

    system: bool
    user: str
    home: Path
    base: Path
    """The installations, `current` and the record."""
    commands: Path
    """The directory in which shells find programs."""
    config: Path
    """The directory of the service's configuration and of authorized keys."""
    state: Path
    units: Path

    @property
    def record_file(self) -> Path:
        """The file of `record.Record`."""
        return self.base / RECORD_NAME

    @property
    def current(self) -> Path:
        """The installation in use: a symbolic link."""
        return self.base / CURRENT

    @property
    def farhandd(self) -> Path:
        """The service's program."""
        return self.current / "bin/farhandd"

    @property
    def config_file(self) -> Path:
        """The service's configuration, whoever has written it."""
        return self.config / "farhandd.toml"

    @property
    def log_file(self) -> Path:
        """The log of a service that systemd does not run."""
        return self.state / "farhandd.log"

    @classmethod
    def of(cls, *, system: bool, environ: Mapping[str, str], root: Path = Path("/")) -> FarPlaces:
        """Return the places of the account that this process runs as; with `system`, those of root's service.

        `root` is where the system's directories are.
        """
        account = pwd.getpwuid(os.getuid())
        home = Path(environ.get("HOME") or account.pw_dir)
        user = account.pw_name
        if system:
            return cls(
                system=True,
                user=environ.get("SUDO_USER") or user,
                home=home,
                base=root / "opt/farhand",
                commands=root / "usr/local/bin",
                config=root / "etc/farhand",
                state=root / "var/lib/farhand",
                units=root / "etc/systemd/system",
            )

        def directory(variable: str, default: str) -> Path:
            value = environ.get(variable, "")
            return Path(value) if value.startswith("/") else home / default

        config = directory("XDG_CONFIG_HOME", ".config")
        return cls(
            system=False,
            user=user,
            home=home,
            base=directory("XDG_DATA_HOME", ".local/share") / "farhand",
            commands=home / ".local/bin",
            config=config / "farhand",
            state=directory("XDG_STATE_HOME", ".local/state") / "farhand",
            units=config / "systemd/user",
        )
