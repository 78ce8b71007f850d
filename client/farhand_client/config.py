"""The client's configuration file, `config.toml`: names for services."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import AddressError


class Host(BaseModel):
    """`[hosts.NAME]`: `address` is a HOST, `identities` are key files, which may begin with `~`."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")
    address: str
    identities: list[str] = []


class Config(BaseModel):
    """The whole file. `default_host` is the HOST of `farhand shell` without one."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")
    default_host: str | None = None
    hosts: dict[str, Host] = {}


def hosts(path: Path) -> dict[str, Host]:
    """Return the table `hosts` of the file. Raises `AddressError`, with the first thing wrong."""
    return _read(path).hosts


def default_host(path: Path) -> str | None:
    """Return the file's `default_host`; None where it has none, or is not there. Raises `AddressError`."""
    return _read(path).default_host if path.exists() else None


def _read(path: Path) -> Config:
    try:
        with path.open("rb") as file:
            data = tomllib.load(file)
    except OSError as error:
        raise AddressError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AddressError(f"{path} is not TOML: {error}") from None
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise AddressError(f"{path}: {_sentence(error.errors(include_url=False)[0])}") from None


def _sentence(problem: Any) -> str:
    *table, key = (str(part) for part in problem["loc"])
    if problem["type"] != "extra_forbidden":
        return f"{'.'.join([*table, key])}: {problem['msg']}"
    from difflib import get_close_matches

    known = list(Host.model_fields if table else Config.model_fields)
    close = get_close_matches(key, known, 1)
    place = f" in [{'.'.join(table)}]" if table else ""
    return f"there is no key {key!r}{place}; " + (
        f"is {close[0]!r} meant?" if close else f"known are {', '.join(known)}"
    )
