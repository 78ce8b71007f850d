"""The units of the system's service, as deploy/install installs them, for an installation of `farhand up`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from farhand_client.directories import DEFAULT_PORT
from farhand_client.errors import FarhandError

UNIT_FILES: Final = (
    "farhandd.service",
    "farhand-edge.service",
    "farhand-edge.socket",
    "farhand-host-key.service",
    "sysusers.conf",
    "tmpfiles.conf",
)
"""The files of deploy/ that systemd needs."""

SYSTEM_BASE: Final = "/opt/farhand/current"
"""Where the programs of root's service are, instead of /usr/local."""


def system_units(port: int, hosts: Sequence[str]) -> dict[str, str]:
    """Return the units by name, listening on `port` of `hosts` (none: of all addresses). Raises `FarhandError`."""
    units = {name: _text(name).replace("/usr/local/", f"{SYSTEM_BASE}/") for name in UNIT_FILES}
    addresses = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in hosts] or [str(port)]
    streams = "\n".join(f"ListenStream={address}" for address in addresses)
    socket = units["farhand-edge.socket"]
    units["farhand-edge.socket"] = socket.replace(f"ListenStream={DEFAULT_PORT}", streams)
    return units


def _text(name: str) -> str:
    # A checkout has them in deploy/, an installation where the wheel's data is.
    for directory in (Path(__file__).parents[3] / "deploy", Path(sys.prefix) / "share/farhand"):
        try:
            return (directory / name).read_text()
        except OSError:
            continue
    raise FarhandError(f"this installation of Farhand has no {name}, which root's service needs; install it again")
