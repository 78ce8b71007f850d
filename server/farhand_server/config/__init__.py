"""Configuration: one frozen tree, read from TOML, with every default in one place.

`find_file` finds the file that applies, `load` reads it into a `ServiceConfig`, and `effective_toml` converts a
configuration back to TOML. The parts:

- `model`: the tree itself. Each section is a frozen pydantic model. Its fields document unit, bounds and the reason for
  the default.
- `values`: the types that TOML lacks (sizes, durations, listen addresses, paths), and the directories against which
  configured paths are resolved.
- `load`: turns file and command line into a `ServiceConfig` or a `ConfigError`, and a `ServiceConfig` into TOML.
- `problems`: turns pydantic's errors into sentences that name file, section and key.

Nothing here depends on any other part of the service. The tree is never changed: a reload builds a new one.
`farhandd.toml` here documents every key for administrators; a test keeps that file and the tree in agreement,
and `farhandd example config` prints it.
"""

from farhand_server.config.load import ConfigError, effective_toml, find_file, load
from farhand_server.config.model import (
    AuditSettings,
    DrainSettings,
    EdgeSection,
    EdgeSettings,
    HistorySettings,
    LoginSettings,
    LogSettings,
    PolicySettings,
    RunSettings,
    ServiceConfig,
)
from farhand_server.config.values import Directories, ListenAddress

__all__ = [
    "AuditSettings",
    "ConfigError",
    "Directories",
    "DrainSettings",
    "EdgeSection",
    "EdgeSettings",
    "HistorySettings",
    "ListenAddress",
    "LogSettings",
    "LoginSettings",
    "PolicySettings",
    "RunSettings",
    "ServiceConfig",
    "effective_toml",
    "find_file",
    "load",
]
