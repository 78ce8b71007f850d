"""The types of configured values that TOML lacks: sizes, durations, listen addresses, paths.

Paths may begin with a placeholder for one of the service's directories: an ordinary user's XDG directories, or the
system's directories for root. An XDG variable with an absolute path also applies to root, so that two services can run
side by side under one account (XDG Base Directory Specification 0.8, which also says to ignore relative paths in these
variables).
"""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, InstanceOf, ValidationInfo

from farhand_protocol.quantities import TIME_FORMS, bytes_from, seconds_from
from farhand_server.sharing import Rate

SYSTEM_CONFIG_FILE = Path("/etc/farhand/farhandd.toml")

SYSTEM_KEY_FILES = ("/etc/farhand/authorized_keys.d/{user}", "~/.config/farhand/authorized_keys")
"""The files in which root's service looks for the keys of each account. The administrator's file comes first, so that a
line there that restricts a key applies, whatever the user writes about the same key."""

_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%]+[^\]\s]*)\]|(?P<host>[^\s:\[\]]+)):(?P<port>[0-9]{1,5})", re.ASCII)


_RATE = re.compile(r"(?P<count>[1-9][0-9]{0,3}|10000) ?/ ?(?P<unit>s|min|h)", re.ASCII)
_RATE_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Directories:
    """The directories that `{config}`, `{state}` and `{runtime}` stand for in a configured path.

    They need not exist yet.
    """

    home: Path
    config: Path
    state: Path
    runtime: Path
    root: bool = False
    """Whether these are the directories of root's service, which can serve every account of the machine."""
    key_files: tuple[str, ...] = ("{config}/authorized_keys",)
    """The default of `login.authorized_keys`."""

    @classmethod
    def of(cls, environ: Mapping[str, str], uid: int, home: Path) -> "Directories":
        """Return the directories of the account `uid` with home directory `home`, from `environ` and the XDG rules.

        If XDG_RUNTIME_DIR is missing (cron jobs and `su` do not set it), no other durable runtime directory exists, so
        an ordinary user's runtime directory is then the state directory.
        """

        def base(variable: str, default: Path) -> Path:
            value = environ.get(variable, "")
            return Path(value if value.startswith("/") else default, "farhand")

        root = uid == 0
        state = base("XDG_STATE_HOME", Path("/var/lib") if root else home / ".local/state")
        return cls(
            home=home,
            config=base("XDG_CONFIG_HOME", home / ".config"),
            state=state,
            runtime=base("XDG_RUNTIME_DIR", Path("/run") if root else state.parent),
            root=root,
            key_files=SYSTEM_KEY_FILES if root and not environ.get("XDG_CONFIG_HOME") else cls.key_files,
        )

    def expand(self, text: str) -> Path:
        """Return the path that `text` stands for; `text` must be absolute, or begin with `~`, `{config}`, `{state}`,
        `{runtime}`.

        Raises ValueError with a sentence for any other text and for a NUL byte.
        """
        if "\0" in text:
            raise ValueError("a path cannot contain a NUL byte")
        first, slash, rest = text.partition("/")
        known = {"~": self.home, "{config}": self.config, "{state}": self.state, "{runtime}": self.runtime}
        if text.startswith("/"):
            return Path(os.path.normpath(text))
        if first in known:
            return Path(os.path.normpath(known[first] / rest)) if slash else known[first]
        raise ValueError(f"must be an absolute path, or begin with {', '.join(known)}")


class ListenAddress(NamedTuple):
    """A TCP address to listen on, written `HOST:PORT`, with an IPv6 host in brackets (RFC 3986, section 3.2.2)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_size(value: object) -> object:
    """Return the number of bytes that a string such as `"256 KiB"` stands for. Anything else is returned unchanged.

    Raises ValueError for a string that is not a size.
    """
    return bytes_from(value) if isinstance(value, str) else value


def parse_duration(value: object) -> object:
    """Return the seconds that a string such as `"1h30m"` stands for. Anything else is returned unchanged.

    Raises ValueError for a string that is not a time, and for NaN.
    """
    if isinstance(value, float) and math.isnan(value):
        raise ValueError(f"must be {TIME_FORMS}")
    return seconds_from(value) if isinstance(value, str) else value


def parse_rate(value: object) -> object:
    """Return the `Rate` that a string such as `"10/s"` stands for. Anything else is returned unchanged.

    Raises ValueError for any other string.
    """
    if not isinstance(value, str):
        return value
    match = _RATE.fullmatch(value)
    if match is None:
        raise ValueError('must be a number of 1 to 10000 per second, minute or hour, such as "10/s", "60/min" or "5/h"')
    return Rate(int(match["count"]), _RATE_UNITS[match["unit"]])


def parse_listen_address(value: object) -> object:
    """Return the `ListenAddress` that `"HOST:PORT"` stands for. With port 0, the system chooses the port.

    Anything but a string is returned unchanged. Raises ValueError for any other string.
    """
    if not isinstance(value, str):
        return value
    match = _ADDRESS.fullmatch(value)
    if match is None or int(match["port"]) > 65535:
        raise ValueError('must be "HOST:PORT" with an IPv6 address in brackets, such as "0.0.0.0:7022" or "[::]:7022"')
    return ListenAddress(match["v6"] or match["host"], int(match["port"]))


def _expand(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str | Path):
        return value
    if not isinstance(info.context, Directories):
        raise TypeError("paths are resolved against Directories, given as validation context")
    return info.context.expand(str(value))


def _expand_key_file(value: object, info: ValidationInfo) -> object:
    # Like `_expand`, but leave `{user}` (each account's name) and, in root's service, `~` (its home) in the path.
    # `auth.accounts` replaces them at each login.
    if not isinstance(value, str | Path) or not isinstance(info.context, Directories):
        return _expand(value, info)
    text = str(value)
    per_account = "{user}" in text or (info.context.root and text.startswith("~"))
    if per_account and ".." in text.split("/"):
        raise ValueError("cannot contain .. in a path that depends on the account")
    if info.context.root and text.startswith("~/") and "\0" not in text:
        return Path(text)
    return info.context.expand(text)


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


ByteSize = Annotated[int, BeforeValidator(parse_size)]
Seconds = Annotated[float, BeforeValidator(parse_duration)]
ConfiguredRate = Annotated[InstanceOf[Rate], BeforeValidator(parse_rate)]
ConfiguredAddress = Annotated[InstanceOf[ListenAddress], BeforeValidator(parse_listen_address)]
ConfiguredPath = Annotated[Path, BeforeValidator(_expand)]
KeyFile = Annotated[Path, BeforeValidator(_expand_key_file)]
ArrayAsTuple = BeforeValidator(_tuple)
"""Accepts TOML's arrays, which are lists, for the tuples of the frozen tree."""
