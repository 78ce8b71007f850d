"""The section of a host in `config.toml`: written, changed and removed without touching anything else in the file.

Ours is known by the comment behind its header, which also says how to reach the machine by ssh:

    [hosts.web]  # farhand up deploy@web.example.net
    address = "deploy@web.example.net"

Whatever is done to the text, the result is read again: it must mean what the file meant, but for this one host.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from farhand_client.errors import AddressError, ConnectError, FarhandError

_HEADER: Final = re.compile(r"^[ \t]*\[(?!\[)(?P<keys>[^\n]*?)\][ \t]*(?:#(?P<comment>[^\n]*))?$")

_MARK: Final = "farhand up "

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


class HostSection(NamedTuple):
    """A section of the file: `first` is the line of its header, `last` the line behind its own."""

    name: str
    address: str
    made_for: str | None
    """How to reach the machine by ssh, if farhand up has written the section."""
    first: int
    last: int


def sections_of(text: str) -> list[HostSection]:
    """Return the sections of hosts. Raises `AddressError` if the file is not TOML."""
    hosts = _parsed(text).get("hosts")
    found: list[HostSection] = []
    if not isinstance(hosts, dict):
        return found
    lines = text.splitlines()
    headers = [(number, _HEADER.match(line)) for number, line in enumerate(lines)]
    starts = [number for number, line in enumerate(lines) if line.lstrip().startswith("[")]
    for number, header in headers:
        name = None if header is None else _host_name(header["keys"])
        entry = hosts.get(name) if name is not None else None
        if header is None or name is None or not isinstance(entry, dict):
            continue
        comment = (header["comment"] or "").strip()
        made_for = comment.removeprefix(_MARK).strip() if comment.startswith(_MARK) else None
        last = next((start for start in starts if start > number), len(lines))
        # Blank lines and comments before the next section belong to that.
        while last > number + 1 and (not lines[last - 1].strip() or lines[last - 1].lstrip().startswith("#")):
            last -= 1
        found.append(HostSection(name, str(entry.get("address", "")), made_for, number, last))
    return found


def section_of(path: Path, host: str) -> HostSection | None:
    """Return the section of the file that has `host` as its name. Raises `AddressError` if the file is not TOML."""
    text = path.read_text(errors="replace") if path.exists() else ""
    return next((section for section in sections_of(text) if section.name == host), None)


def not_by_ssh(error: ConnectError, section: HostSection | None, path: Path) -> ConnectError:
    """Return `error`, with what to do if the host is one of `config.toml` that ssh need not know by that name."""
    if section is None or section.made_for is not None:
        return error
    return ConnectError(
        f"{error}; {path} has {section.name} with the address {section.address!r}, but farhand up goes by ssh: give "
        "the name by which ssh knows the machine, [USER@]HOST"
    )


def with_host(text: str, name: str, address: str, made_for: str) -> str:
    """Return the text with a section for the host. Raises `AddressError` if somebody else has written another one."""
    data = _parsed(text)
    there = data.get("hosts", {}).get(name) if isinstance(data.get("hosts"), dict) else None
    if isinstance(there, dict) and there.get("address") == address:
        return text
    lines = text.splitlines()
    header = f"[hosts.{_key(name)}]  # {_MARK}{made_for}"
    if there is None:
        blank = [""] if lines and lines[-1].strip() else []
        lines += [*blank, header, f"address = {_string(address)}"]
    else:
        ours = [section for section in sections_of(text) if section.name == name and section.made_for is not None]
        if not ours:
            raise AddressError(
                f"config.toml has a host {name} already, with another address; choose another name with --name"
            )
        places = [
            number
            for number in range(ours[0].first + 1, ours[0].last)
            if re.match(r"[ \t]*address[ \t]*=", lines[number])
        ]
        if not places:
            raise AddressError(f"the address of the host {name} in config.toml cannot be changed; remove its section")
        lines[ours[0].first] = header
        lines[places[0]] = f"address = {_string(address)}"
    return _checked("\n".join(lines) + "\n", data, name, address)


def without_host(text: str, name: str) -> str:
    """Return the text without the section that farhand up has written for the host."""
    lines = text.splitlines(keepends=True)
    for section in sections_of(text):
        if section.name == name and section.made_for is not None:
            first = section.first
            if first and not lines[first - 1].strip():  # the blank line that came with it
                first -= 1
            return _checked("".join(lines[:first] + lines[section.last :]), _parsed(text), name, None)
    return text


@contextlib.contextmanager
def changed_file(path: Path) -> Iterator[list[str]]:
    """Yield the text of a file in a list of one, and write what is in the list after the block, in one step.

    An empty text removes the file. Raises `FarhandError` if it cannot be written.
    """
    real = Path(os.path.realpath(path))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = os.open(real.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            before = real.read_text() if real.exists() else ""
            texts = [before]
            yield texts
            if texts[0] == before:
                return
            if not texts[0].strip():
                real.unlink(missing_ok=True)
                return
            _write(real, texts[0])
        finally:
            os.close(directory)
    except OSError as error:
        raise FarhandError(f"cannot write {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise AddressError(f"{path} is not UTF-8 at byte {error.start}") from None


def _write(real: Path, text: str) -> None:
    mode = real.stat().st_mode & 0o7777 if real.exists() else 0o600
    new = real.with_name(f".{real.name}.{os.getpid()}.new")
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode), "w") as file:  # noqa: PTH123  # a descriptor
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(real)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise AddressError(f"config.toml is not valid TOML: {error}") from None


def _checked(text: str, before: dict[str, Any], name: str, address: str | None) -> str:
    """Return `text` if it means what the file meant before, but for the address of one host."""
    try:
        after = tomllib.loads(text)
    except ValueError:
        after = {}
    hosts = {key: value for key, value in before.get("hosts", {}).items() if key != name}
    if address is not None:
        entry = before.get("hosts", {}).get(name, {})
        hosts[name] = {**entry, "address": address}
    wanted = {key: value for key, value in before.items() if key != "hosts"}
    found = {key: value for key, value in after.items() if key != "hosts"}
    if found != wanted or after.get("hosts", {}) != hosts:  # a string of several lines looks like keys
        raise AddressError(f"config.toml cannot be changed safely; edit the section [hosts.{_key(name)}] by hand")
    return text


def _host_name(keys: str) -> str | None:
    try:
        table: Any = tomllib.loads(f"[{keys}]")
    except ValueError:
        return None
    hosts = table.get("hosts")
    if not isinstance(hosts, dict) or len(hosts) != 1:
        return None
    name, inner = next(iter(hosts.items()))
    return str(name) if inner == {} else None


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _string(name)


def _string(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
