"""The configuration that all `farhandd` commands use."""

from __future__ import annotations

import argparse

from farhand_server.config import ServiceConfig, find_file, load


def configuration(options: argparse.Namespace) -> ServiceConfig:
    """Return the configuration that results from these options. Raises `ConfigError`."""
    overrides: dict[str, str | list[str]] = {}
    for key in ("socket", "state_dir", "listen"):
        value = getattr(options, key, None)
        if value is not None:
            overrides[key] = value
    return load(options.config or find_file(), overrides=overrides)
