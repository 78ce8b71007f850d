"""The client's configuration file `config.toml`, and the directories of the client's files.

The directories follow the XDG Base Directory Specification 0.8, by which a relative path in one of its variables is
ignored. The file is checked by hand: it has three keys, and a prompt must not wait for a validation library to load.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from .errors import AddressError

DEFAULT_PORT: Final = 7022
"""The TCP port of a service unless HOST or `config.toml` names another."""


@dataclass(frozen=True, slots=True)
class HostEntry:
    """A table `[hosts.NAME]`: `address` is a HOST; `identities` are key files, whose names may begin with `~`."""

    address: str
    identities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """The whole file. `default_host` is the HOST of `farhand shell` called without one."""

    default_host: str | None = None
    hosts: Mapping[str, HostEntry] = field(default_factory=dict)


def load(path: Path) -> ClientConfig:
    """Read and check the file. Raises `AddressError`, which names the file and the first mistake in it."""
    import tomllib

    try:
        with path.open("rb") as file:
            data = tomllib.load(file)
    except OSError as error:
        raise AddressError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AddressError(f"{path} is not valid TOML: {error}") from None
    try:
        return _client_config(data)
    except ValueError as error:
        raise AddressError(f"{path}: {error}") from None


def load_hosts(path: Path) -> Mapping[str, HostEntry]:
    """Return the table `hosts` of the file. Raises as `load`."""
    return load(path).hosts


def load_default_host(path: Path) -> str | None:
    """Return `default_host` of the file; None if the file lacks the key or does not exist. Raises as `load`."""
    return load(path).default_host if path.exists() else None


def config_directory() -> Path:
    """Return `$XDG_CONFIG_HOME/farhand`, by default `~/.config/farhand`. It need not exist."""
    return _directory("XDG_CONFIG_HOME", ".config")


def state_directory() -> Path:
    """Return `$XDG_STATE_HOME/farhand`, by default `~/.local/state/farhand`. It need not exist."""
    return _directory("XDG_STATE_HOME", ".local/state")


def _directory(variable: str, default: str) -> Path:
    base = os.environ.get(variable, "")
    return Path(base if base.startswith("/") else Path.home() / default, "farhand")


# Each of these raises ValueError, which says where the mistake is and what is wrong.


def _client_config(data: dict[str, Any]) -> ClientConfig:
    values = _checked(data, (), {"default_host": _string, "hosts": _table})
    hosts = {}
    for name, entry in values.get("hosts", {}).items():
        place = ("hosts", name)
        keys = _checked(_table(entry, place), place, {"address": _string, "identities": _strings})
        if "address" not in keys:
            raise ValueError(f"hosts.{name}.address is missing")
        hosts[name] = HostEntry(**keys)
    return ClientConfig(default_host=values.get("default_host"), hosts=hosts)


def _checked(
    table: dict[str, Any], place: tuple[str, ...], known: dict[str, Callable[[Any, tuple[str, ...]], Any]]
) -> dict[str, Any]:
    for key in table:
        if key not in known:
            raise ValueError(_unknown_key(key, place, list(known)))
    return {key: known[key](value, (*place, key)) for key, value in table.items()}


def _unknown_key(key: str, place: tuple[str, ...], known: list[str]) -> str:
    from difflib import get_close_matches

    where = f" in [{'.'.join(place)}]" if place else ""
    close = get_close_matches(key, known, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"the keys are {', '.join(known)}"
    return f"unknown key {key!r}{where}; {hint}"


def _string(value: Any, place: tuple[str, ...]) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"{'.'.join(place)} must be a string")


def _strings(value: Any, place: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(value)
    raise ValueError(f"{'.'.join(place)} must be an array of strings")


def _table(value: Any, place: tuple[str, ...]) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise ValueError(f"{'.'.join(place)} must be a table")
