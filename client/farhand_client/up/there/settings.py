"""The service's configuration, the keys that may log in, and its host key."""

from __future__ import annotations

import hashlib
import os
import tomllib
from pathlib import Path
from typing import Final, NamedTuple

from farhand_client.up.there.places import FarPlaces
from farhand_client.up.there.record import Record, content_of
from farhand_client.up.there.trouble import FarSideError, output_of, reported

_HEAD: Final = """\
# Written by farhand up, which leaves this file alone once it was changed by hand. `farhandd example config` describes
# every key.
"""

SYSTEM_SOCKET: Final = "/run/farhand/farhandd.sock"
"""The socket of root's service. Named in the file, it does not depend on anybody's XDG_RUNTIME_DIR."""


class ServiceSettings(NamedTuple):
    """What the service goes by, as its own `farhandd check` understands it."""

    socket: Path
    listen: list[str]
    key_file: Path
    changed: bool
    """Whether the file has just been written with other contents."""
    ours: bool
    """Whether farhand up has written the file, and nobody has changed it since."""


def configure(places: FarPlaces, record: Record, listen: list[str], *, by_systemd: bool) -> ServiceSettings:
    """Write the configuration, unless somebody else has written one, and return what applies.

    `by_systemd` says that systemd holds the listening socket and runs the edge.
    """
    file = places.config_file
    there = content_of(file)
    ours = there is None or record.digest(file) == hashlib.sha256(there).hexdigest()
    changed = False
    if ours:
        record.directory(places.config, 0o755 if places.system else 0o700)
        changed = record.file(file, config_text(places, listen, by_systemd=by_systemd).encode())
    found = tomllib.loads(output_of([str(places.farhandd), "check", *_options(places)]))
    files = found["login"]["authorized_keys"]
    if not files:
        raise FarSideError(f"{file}: login.authorized_keys names no file", "name one there")
    name = str(files[0]).replace("{user}", places.user)
    name = str(places.home) + name[1:] if name.startswith("~/") else name
    return ServiceSettings(Path(found["socket"]), list(found["listen"]), Path(name), changed, ours)


def authorize(file: Path, record: Record, lines: list[str]) -> list[str]:
    """Add public keys to an authorized_keys file, and return the lines that were not in it."""
    data = content_of(file) or b""
    present = {word for line in data.decode(errors="replace").splitlines() for word in line.split()}
    new = [line for line in lines if line.split()[1] not in present]
    if not new:
        return []
    record.directory(file.parent, 0o755 if file.is_relative_to("/etc") else 0o700)
    for line in new:
        record.key(file, line.split()[1])
    ended = b"" if not data or data.endswith(b"\n") else b"\n"
    with reported("add a key"):
        # One write at the end of the file: others may add to it at the same time.
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with open(descriptor, "ab", buffering=0) as opened:  # noqa: PTH123  # a descriptor, not a path
            opened.write(ended + "".join(f"{line}\n" for line in new).encode())
    return new


def host_key(places: FarPlaces, record: Record) -> str:
    """Return the line with the service's public host key. It is made if there is none."""
    record.directory(places.state.parent)
    record.tree(places.state)
    output = output_of([str(places.farhandd), "host-key", *_options(places)])
    return output.splitlines()[0]


def _options(places: FarPlaces) -> list[str]:
    state = [] if places.system else ["--state-dir", str(places.state)]
    return ["--config", str(places.config_file), *state]


def config_text(places: FarPlaces, listen: list[str], *, by_systemd: bool) -> str:
    """Return the configuration of a fresh service."""
    addresses = ", ".join(f'"{address}"' for address in listen)
    if by_systemd:
        return (
            f'{_HEAD}socket = "{SYSTEM_SOCKET}"\nstate_dir = "{places.state}"\n\n'
            '[edge]\nsocket = "/run/farhand/edge.sock"\naccount = "farhand-edge"\n'
        )
    if places.system:
        return (
            f'{_HEAD}listen = [{addresses}]\nsocket = "{SYSTEM_SOCKET}"\nstate_dir = "{places.state}"\n\n'
            '[edge]\nsocket = "/run/farhand/edge.sock"\n'
        )
    return (
        f'{_HEAD}listen = [{addresses}]\nsocket = "{{state}}/farhandd.sock"\n\n[edge]\nsocket = "{{state}}/edge.sock"\n'
    )
