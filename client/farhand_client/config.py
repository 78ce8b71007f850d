"""The client's configuration file `config.toml`, and the directories of the client's files.

The file is checked by hand: it has few keys, and a prompt must not wait for a validation library to load.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

from farhand_protocol.sentences import closest

from .directories import CONFIG_DIRECTORY, STATE_DIRECTORY, directory, home
from .errors import AddressError, ConnectError

PredictMode: TypeAlias = Literal["auto", "always", "never"]
"""When typed characters are shown before a program echoes them: on a slow connection only, always, or never."""

PREDICT_MODES: Final[tuple[PredictMode, ...]] = get_args(PredictMode)

DEFAULT_PREDICT: Final = "auto"


DEFAULT_MUX_IDLE: Final = 60.0
"""Seconds without a command after which the helper goes: longer than between two commands typed by hand, and short
enough that nobody wonders tomorrow what it is."""

MIN_MUX_IDLE: Final = 1.0
MAX_MUX_IDLE: Final = 86400.0
"""Bounds of `mux_idle`: below a second it would be gone before it can be used; a day is how long one works with it."""


@dataclass(frozen=True, slots=True)
class HostEntry:
    """A table `[hosts.NAME]`: `address` is a HOST; `identities` are key files, whose names may begin with `~`; `mux` is
    as in `ClientConfig`; `via` are the HOSTs through which it is reached, the nearest first."""

    address: str
    identities: tuple[str, ...] = ()
    mux: str | None = None
    via: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """The whole file. `default_host` is the HOST of commands that are called without one, `predict` says when typed
    characters are shown before a program echoes them. `mux` says whether the helper may be used, "auto" or "off";
    `mux_idle` is the time in seconds after which it goes."""

    default_host: str | None = None
    hosts: Mapping[str, HostEntry] = field(default_factory=dict)
    predict: PredictMode = DEFAULT_PREDICT
    mux: str | None = None
    mux_idle: float = DEFAULT_MUX_IDLE
    path: Path | None = field(default=None, compare=False)
    text: str = field(default="", compare=False, repr=False)

    def place(self, *keys: str) -> str:
        """Return where the value of `keys` is in the file, for a message: `FILE:LINE: [hosts.web] address`."""
        return f"{_position(self.path, self.text, keys)}: {_named(keys)}"


def load(path: Path) -> ClientConfig:
    """Read and check the file. Raises `AddressError`, which names the file, the line and the first mistake in it."""
    import tomllib

    try:
        text = path.read_bytes().decode()
        data = tomllib.loads(text)
    except OSError as error:
        raise AddressError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise AddressError(f"{path} is not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise AddressError(f"{path} is not valid TOML: it is nested too deeply") from None
    except ValueError as error:
        # The mistake that people make most often.
        hint = "; is it text without quotes?" if str(error).startswith("Invalid value") else ""
        raise AddressError(f"{path} is not valid TOML: {error}{hint}") from None
    try:
        values = _checked_file(data)
    except _ConfigMistake as mistake:
        raise AddressError(f"{_position(path, text, mistake.keys)}: {mistake}") from None
    return ClientConfig(**values, path=path, text=text)


def load_hosts(path: Path) -> Mapping[str, HostEntry]:
    """Return the hosts in the file. Raises as `load`."""
    return load(path).hosts


def load_default_host(path: Path) -> str | None:
    """Return `default_host` of the file; None if the file lacks the key or does not exist. Raises as `load`."""
    return load(path).default_host if is_there(path) else None


def load_predict(path: Path) -> PredictMode:
    """Return `predict` of the file, or its default if the file does not exist. Raises as `load`."""
    return load(path).predict if is_there(path) else DEFAULT_PREDICT


def helper_configured() -> bool:
    """Return whether the configuration lets the helper be used, for a HOST for which nobody else reads the file."""
    try:
        path = config_directory() / "config.toml"
        return not is_there(path) or load(path).mux != "off"
    except (AddressError, ConnectError):
        return False  # commands for other hosts say what is wrong with it


def is_there(path: Path) -> bool:
    """Return whether the file `path` exists. Raises `AddressError` if that cannot be found out."""
    try:
        return path.exists()
    except OSError as error:
        raise AddressError(f"cannot read {path}: {error.strerror}") from None


def config_directory() -> Path:
    """Return `$XDG_CONFIG_HOME/farhand`, by default `~/.config/farhand`. It need not exist.

    Raises `ConnectError` if neither the variable is set nor a home directory known.
    """
    found = directory(CONFIG_DIRECTORY, home_directory())
    if found is None:
        raise ConnectError(
            f"no home directory is known: HOME is not set, and the user id {os.getuid()} has no account here; "
            f"set HOME or {CONFIG_DIRECTORY[0]}"
        )
    return Path(found)


def state_directory() -> Path:
    """Return `$XDG_STATE_HOME/farhand`, by default `~/.local/state/farhand`. It need not exist.

    Without a home directory it is below /dev/null, where nothing exists: no state is kept.
    """
    found = directory(STATE_DIRECTORY, home_directory())
    return Path(os.devnull, "farhand") if found is None else Path(found)


def home_directory() -> Path | None:
    """Return this user's home directory; None if HOME is not set and passwd(5) does not know the user."""
    found = home()
    return None if found is None else Path(found)


class _ConfigMistake(ValueError):
    """A mistake in the file at `keys`; the text says what is wrong and what to write."""

    def __init__(self, keys: tuple[str, ...], sentence: str) -> None:
        super().__init__(sentence)
        self.keys = keys


_Check: TypeAlias = "Callable[[Any, tuple[str, ...]], Any]"

# Each of these raises _ConfigMistake.


def _checked_file(data: dict[str, Any]) -> dict[str, Any]:
    known: dict[str, _Check] = {
        "default_host": _string,
        "predict": _predict_mode,
        "mux": _mux,
        "mux_idle": _mux_idle,
        "hosts": _table,
    }
    values = _checked(data, (), known)
    hosts = {}
    for name, entry in values.get("hosts", {}).items():
        place = ("hosts", name)
        if not isinstance(entry, dict) and name in _HOST_KEYS:
            raise _ConfigMistake(place, f"[hosts] {name}: a host is a section of its own: write [hosts.NAME] above it")
        keys = _checked(_table(entry, place), place, _HOST_KEYS)
        if "address" not in keys:
            raise _ConfigMistake(place, f'[hosts.{name}] has no address; add one, such as address = "{name}"')
        hosts[name] = HostEntry(**keys)
    return values | {"hosts": hosts}


def _checked(table: dict[str, Any], place: tuple[str, ...], known: Mapping[str, _Check]) -> dict[str, Any]:
    for key, value in table.items():
        if key not in known:
            raise _ConfigMistake((*place, key), _unknown_key(key, value, place, list(known)))
    return {key: known[key](value, (*place, key)) for key, value in table.items()}


def _unknown_key(key: str, value: object, place: tuple[str, ...], known: list[str]) -> str:
    close = closest(key.lower(), known)
    if not place and isinstance(value, dict):
        hint = "did you mean [hosts]?" if close else f"a host is a section [hosts.{key}]"
        return f"unknown section [{key}]; {hint}"
    where = f" in {_named(place)}" if place else ""
    close = close or _MEANT.get(key.lower())
    if close:
        hint = f"did you mean {close!r}?"
    elif not place and (key in _HOST_KEYS or key.lower() in _MEANT or key.lower() in _IN_ADDRESS):
        hint = "it belongs in the section of a host, [hosts.NAME]"
    elif place and key in ("default_host", "predict"):
        hint = "it belongs above the first section"
    elif place and key.lower() in _IN_ADDRESS:
        hint = 'it is written in the address: address = "user@name:port"'
    else:
        hint = f"the keys are {', '.join(known)}"
    return f"unknown key {key!r}{where}; {hint}"


def _string(value: Any, place: tuple[str, ...]) -> str:
    if isinstance(value, str) and value.strip():
        return value
    wrong = f", not {_shown(value)}" if not isinstance(value, str) else ", not an empty one"
    raise _ConfigMistake(place, f'{_named(place)} must be a string, such as "ann@web.example.net"{wrong}')


def _mux(value: Any, place: tuple[str, ...]) -> str:
    if value in ("auto", "off"):
        return str(value)
    raise _ConfigMistake(place, f'{_named(place)} must be "auto" or "off", not {_shown(value)}')


def _mux_idle(value: Any, place: tuple[str, ...]) -> float:
    from farhand_protocol.quantities import TIME_FORMS, seconds_from

    try:
        seconds = seconds_from(value if isinstance(value, str) else str(value))
    except ValueError:
        raise _ConfigMistake(place, f"{_named(place)} must be {TIME_FORMS}, not {_shown(value)}") from None
    if not MIN_MUX_IDLE <= seconds <= MAX_MUX_IDLE:
        raise _ConfigMistake(place, f"{_named(place)} must be from 1 second to 1 day, not {_shown(value)}")
    return seconds


def _strings(value: Any, place: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(value)
    given = "" if isinstance(value, list) else f", not {_shown(value)}"
    raise _ConfigMistake(place, f'{_named(place)} must be an array of strings, such as ["~/.ssh/id_web"]{given}')


def _hops(value: Any, place: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(each, str) and each.strip() for each in value):
        return tuple(value)
    given = "" if isinstance(value, list) else f", not {_shown(value)}"
    raise _ConfigMistake(place, f'{_named(place)} must be an array of hosts on the way, such as ["gate"]{given}')


def _predict_mode(value: Any, place: tuple[str, ...]) -> PredictMode:
    for mode in PREDICT_MODES:
        if value == mode:
            return mode
    modes = " or ".join(f'"{mode}"' for mode in PREDICT_MODES)
    raise _ConfigMistake(place, f"{_named(place)} must be {modes}, not {_shown(value)}")


def _table(value: Any, place: tuple[str, ...]) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    if place == ("hosts",):
        raise _ConfigMistake(place, f"hosts must be sections, one for each host: [hosts.NAME], not {_shown(value)}")
    raise _ConfigMistake(place, f"{_named(place)} must be a section with an address, not {_shown(value)}")


_HOST_KEYS: Final[Mapping[str, _Check]] = {"address": _string, "identities": _strings, "mux": _mux, "via": _hops}

_MEANT: Final = {
    **dict.fromkeys(("host", "hostname", "name", "server", "url"), "address"),
    **dict.fromkeys(("identity", "identityfile", "identity_file", "key", "keys"), "identities"),
    **dict.fromkeys(("proxyjump", "proxy_jump", "jump", "gateway"), "via"),
}
"""What other programs call our keys."""

_IN_ADDRESS: Final = frozenset({"user", "port"})
"""What other programs configure beside the address."""


def _shown(value: object) -> str:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return repr(value)[:80]
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else f"a {type(value).__name__}"


def _named(keys: tuple[str, ...]) -> str:
    """Return `[section] key`, or `[hosts.NAME]` for a host."""
    if len(keys) < 2:
        return "".join(keys)
    if len(keys) == 2 and keys[0] == "hosts":
        return f"[{'.'.join(keys)}]"
    return f"[{'.'.join(keys[:-1])}] {keys[-1]}"


def _position(path: Path | None, text: str, keys: tuple[str, ...]) -> str:
    from farhand_protocol.toml_lines import line_of

    line = line_of(text, keys)
    return f"{path}:{line}" if line else f"{path}"
