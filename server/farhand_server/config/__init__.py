"""Configuration: one frozen tree, read from TOML, with every default in one place.

`find_file` finds the file that applies, `load` reads it into a `ServiceConfig`, and `effective_toml` prints that
configuration again as TOML. The parts:

- `model`: the tree itself. Each section is a frozen pydantic model whose fields carry unit, bounds and the reason for
  the default.
- `values`: the types that TOML lacks (sizes, durations, listen addresses, paths), and the directories that
  configured paths are resolved against.
- `load`: file and command line in, `ServiceConfig` or `ConfigError` out; and back to TOML.
- `problems`: turns pydantic's findings into sentences that name file, section and key.

Nothing here knows any other part of the service. The tree has no setters: a reload builds another one.
`deploy/farhandd.toml` documents every key for administrators; a test keeps that file and the tree equal.
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
