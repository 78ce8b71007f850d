"""The types of configured values that TOML has no word for: sizes, durations, addresses, paths."""

import math
import re
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, InstanceOf, ValidationInfo

from farhand_server.config.paths import Directories

_SIZES = {
    "B": 1,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
}
_DURATIONS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]+)")


def _quantity(text: str, units: dict[str, int] | dict[str, float]) -> tuple[float, float] | None:
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in units:
        return None
    return float(match[1]), units[match[2]]


def parse_size(value: object) -> object:
    """Bytes from `262144` or `"256 KiB"`. Raises ValueError for a string that is no size."""
    if not isinstance(value, str):
        return value
    quantity = _quantity(value, _SIZES)
    if quantity is None or not (quantity[0] * quantity[1]).is_integer():
        raise ValueError(f'must be a number of bytes or a size like "256 KiB" (units: {", ".join(_SIZES)})')
    return int(quantity[0] * quantity[1])


def parse_duration(value: object) -> object:
    """Seconds from `1.5` or `"1500 ms"`. Raises ValueError for a string that is no duration, and for NaN."""
    if isinstance(value, float) and math.isnan(value):
        raise ValueError("must be a number of seconds")
    if not isinstance(value, str):
        return value
    quantity = _quantity(value, _DURATIONS)
    if quantity is None:
        raise ValueError(f'must be a number of seconds or a duration like "10 s" (units: {", ".join(_DURATIONS)})')
    return quantity[0] * quantity[1]


class Address(NamedTuple):
    """A TCP address to listen on; written `HOST:PORT`, an IPv6 host in brackets (RFC 3986, section 3.2.2)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%]+[^\]\s]*)\]|(?P<host>[^\s:\[\]]+)):(?P<port>[0-9]{1,5})", re.ASCII)


def parse_address(value: object) -> object:
    """An `Address` from `"HOST:PORT"`; port 0 lets the system choose. Raises ValueError for anything else."""
    if not isinstance(value, str):
        return value
    match = _ADDRESS.fullmatch(value)
    if match is None or int(match["port"]) > 65535:
        raise ValueError('must be "HOST:PORT" with an IPv6 address in brackets, such as "0.0.0.0:7022" or "[::]:7022"')
    return Address(match["v6"] or match["host"], int(match["port"]))


def _expand(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str | Path):
        return value
    if not isinstance(info.context, Directories):
        raise TypeError("paths are resolved against Directories, given as validation context")
    return info.context.expand(str(value))


def _expand_key_file(value: object, info: ValidationInfo) -> object:
    """A path as above, where `{user}` stands for each account's name and, in a service of root's, `~` for its home."""
    if not isinstance(value, str | Path) or not isinstance(info.context, Directories):
        return _expand(value, info)
    text = str(value)
    of_each = "{user}" in text or (info.context.root and text.startswith("~"))
    if of_each and ".." in text.split("/"):
        raise ValueError("cannot lead through .. where it stands for a file of each account")
    if info.context.root and text.startswith("~/") and "\0" not in text:
        return Path(text)
    return info.context.expand(text)


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Size = Annotated[int, BeforeValidator(parse_size)]
Seconds = Annotated[float, BeforeValidator(parse_duration)]
Listen = Annotated[InstanceOf[Address], BeforeValidator(parse_address)]
ConfiguredPath = Annotated[Path, BeforeValidator(_expand)]
KeyFile = Annotated[Path, BeforeValidator(_expand_key_file)]
Array = BeforeValidator(_tuple)
"""TOML's arrays are lists; the tree is frozen and holds tuples."""
