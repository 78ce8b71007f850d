"""Reads the configuration file, and converts the configuration in force back to TOML."""

import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from farhand_server.config.model import Section, ServiceConfig
from farhand_server.config.problems import config_problems
from farhand_server.config.values import SYSTEM_CONFIG_FILE, Directories, ListenAddress

MAX_CONFIG_FILE = 1 << 20
"""Maximum bytes of a file. The documented example is under 10 KiB, so a larger file is not a farhandd configuration."""


_NO_HOME = Path("/dev/null")
"""The home of a user without one: nothing exists below it, and nothing can be created there."""


class ConfigError(Exception):
    """The configuration cannot be used. The text has one sentence per line, each naming file and key."""


def find_file(environ: Mapping[str, str] = os.environ, uid: int | None = None) -> Path | None:
    """Return the configuration file to use when none is given, or None if that file does not exist.

    It is `$XDG_CONFIG_HOME/farhand/farhandd.toml` (`~/.config` if unset), and for root
    `/etc/farhand/farhandd.toml` unless XDG_CONFIG_HOME is set.
    """
    uid = os.geteuid() if uid is None else uid
    if uid == 0 and not environ.get("XDG_CONFIG_HOME"):
        file = SYSTEM_CONFIG_FILE
    else:
        file = _directories(environ, uid).config / "farhandd.toml"
    return file if file.exists() else None


def load(
    file: Path | None = None,
    *,
    overrides: Mapping[str, str | list[str]] | None = None,
    environ: Mapping[str, str] = os.environ,
    uid: int | None = None,
) -> ServiceConfig:
    """Return the configuration in `file`, or the defaults if `file` is None.

    `overrides` are top-level keys given on the command line (`socket`, `listen`, `state_dir`). They replace the
    file's, their paths may be relative to the working directory, and errors in them name the option. `uid` is the
    account whose directories are used (default: the effective_toml uid).

    Raises ConfigError for a file that cannot be read, is not TOML, or has an unknown key or an invalid value.
    """
    uid = os.geteuid() if uid is None else uid
    given = {
        key: str(_absolute(key, value)) if isinstance(value, str) else value for key, value in (overrides or {}).items()
    }
    text = "" if file is None else _read(file)
    data = ({} if file is None else _parsed(text, file)) | given
    directories = _directories(environ, uid)
    if "state_dir" not in data and directories.state.is_relative_to(_NO_HOME):
        raise ConfigError(
            f"no home directory is known: HOME is not set, and the user id {uid} has no account here; "
            "set HOME, or give --state-dir"
        )
    if isinstance(chosen := data.get("state_dir"), str):
        try:
            state = directories.expand(chosen)
        except ValueError:
            pass  # reported below, by the field's own validation
        else:
            data["state_dir"] = str(state)
            without_runtime = directories.runtime == directories.state
            directories = replace(directories, state=state, runtime=state if without_runtime else directories.runtime)
    try:
        return ServiceConfig.model_validate(data, context=directories)
    except ValidationError as error:
        raise ConfigError("\n".join(config_problems(error, ServiceConfig, file, text, frozenset(given)))) from None


def effective_toml(config: ServiceConfig) -> str:
    """Return every key of `config` with its value, as TOML. Sizes are in bytes, durations in seconds.

    Loading the result with `load` returns an equal configuration.
    """
    return "".join(_section(config, "")).lstrip("\n")


def toml_value(value: object) -> str:
    """Return one value in TOML 1.0 syntax. Raises TypeError for a type that does not occur in the configuration."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return repr(value) if math.isfinite(value) else str(value)
        case str() | Path() | ListenAddress():
            return _string(str(value))
        case tuple():
            return "[" + ", ".join(toml_value(item) for item in value) + "]"
        case _:
            raise TypeError(f"{type(value).__name__} is not a type of the configuration")


def _section(section: Section, name: str) -> list[str]:
    lines = [f"\n[{name}]\n"] if name else []
    inner: list[str] = []
    for key in type(section).model_fields:
        value = getattr(section, key)
        if isinstance(value, Section):
            inner += _section(value, f"{name}.{key}".lstrip("."))
        elif value is not None:
            lines.append(f"{key} = {toml_value(value)}\n")
    return lines + inner


def _string(text: str) -> str:
    """Return a TOML basic string. Characters that TOML forbids or that would control a terminal are escaped."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'


def _absolute(key: str, path: str) -> Path:
    try:
        return Path(path).absolute()
    except FileNotFoundError:
        option = f"--{key.replace('_', '-')}"
        raise ConfigError(f"{option}: {path} is relative, but the working directory does not exist any more") from None


def _directories(environ: Mapping[str, str], uid: int) -> Directories:
    return Directories.of(environ, uid, _home(environ) or _NO_HOME)


def _home(environ: Mapping[str, str]) -> Path | None:
    try:
        return Path(environ.get("HOME") or Path.home())
    except RuntimeError:
        return None


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_CONFIG_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_CONFIG_FILE:
        raise ConfigError(f"{file}: larger than {MAX_CONFIG_FILE} bytes; this is not a farhandd configuration")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 at byte {error.start}") from None


def _parsed(text: str, file: Path) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, or an integer of thousands of digits
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{file}: not valid TOML: nested too deeply") from None
