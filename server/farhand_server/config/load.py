"""Reading the configuration: finding the file, and saying plainly what is wrong with it."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from farhand_server.config.model import Config
from farhand_server.config.paths import SYSTEM_CONFIG_FILE, Directories
from farhand_server.config.problems import describe

MAX_FILE_SIZE = 1 << 20
"""Bytes; the documented example is under 10 KiB, so anything near this is not our configuration."""


class ConfigError(Exception):
    """The configuration cannot be used; the text has one sentence a line, each naming file and key."""


def find_file(environ: Mapping[str, str] = os.environ, uid: int | None = None) -> Path | None:
    """The configuration file that holds where none is named, or None where there is none.

    `$XDG_CONFIG_HOME/farhand/farhandd.toml` (`~/.config` if unset), for root `/etc/farhand/farhandd.toml`
    unless XDG_CONFIG_HOME is set.
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
) -> Config:
    """The configuration in *file*, or the defaults where *file* is None.

    *overrides* are top-level keys given on the command line (`socket`, `listen`, `state_dir`); they take
    the place of the file's, their paths may be relative to the working directory, and errors in them name
    the option. *uid* is the account whose directories
    hold (default: the effective one).

    Raises ConfigError for a file that cannot be read, is not TOML, or says something that is not so.
    """
    uid = os.geteuid() if uid is None else uid
    given = {
        key: str(Path(value).absolute()) if isinstance(value, str) else value
        for key, value in (overrides or {}).items()
    }
    data = ({} if file is None else _read(file)) | given
    directories = _directories(environ, uid)
    if isinstance(chosen := data.get("state_dir"), str):
        try:
            state = directories.expand(chosen)
        except ValueError:
            pass  # said below, by the field's own validation
        else:
            data["state_dir"] = str(state)
            without_runtime = directories.runtime == directories.state
            directories = replace(directories, state=state, runtime=state if without_runtime else directories.runtime)
    try:
        return Config.model_validate(data, context=directories)
    except ValidationError as error:
        raise ConfigError("\n".join(describe(error, Config, file, frozenset(given)))) from None


def _directories(environ: Mapping[str, str], uid: int) -> Directories:
    return Directories.of(environ, uid, Path(environ.get("HOME") or Path.home()))


def _read(file: Path) -> dict[str, object]:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE_SIZE + 1)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_FILE_SIZE:
        raise ConfigError(f"{file}: larger than {MAX_FILE_SIZE} bytes; this is no farhandd configuration")
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 at byte {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{file}: not valid TOML: nested too deeply") from None
