"""What all commands of `farhandd` share: how one fails, and the configuration it uses."""

from __future__ import annotations

import argparse

from farhand_server.config import ServiceConfig, find_file, load


class CommandFailed(Exception):
    """The command failed; the text says what, why and what to do. The exit code is then 1."""


def configuration(options: argparse.Namespace) -> ServiceConfig:
    """Return the configuration that applies with these options. Raises `ConfigError`."""
    overrides: dict[str, str | list[str]] = {}
    for key in ("socket", "state_dir", "listen"):
        value = getattr(options, key, None)
        if value is not None:
            overrides[key] = value
    return load(options.config or find_file(), overrides=overrides)
