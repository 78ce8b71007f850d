"""Configuration: one frozen tree, read from TOML, with every default in one place.

`load` reads it, `Config` and its sections say what there is, `effective` prints what holds. Every key
is documented for administrators in `deploy/farhandd.toml`; a test keeps that file and the tree equal.
"""

from farhand_server.config.load import ConfigError, find_file, load
from farhand_server.config.model import (
    AuditSettings,
    Config,
    DrainSettings,
    EdgeSection,
    HistorySettings,
    LoginSettings,
    LogSettings,
    PolicySettings,
    RunSettings,
)
from farhand_server.config.paths import Directories
from farhand_server.config.toml import effective
from farhand_server.config.values import Address

__all__ = [
    "Address",
    "AuditSettings",
    "Config",
    "ConfigError",
    "Directories",
    "DrainSettings",
    "EdgeSection",
    "HistorySettings",
    "LogSettings",
    "LoginSettings",
    "PolicySettings",
    "RunSettings",
    "effective",
    "find_file",
    "load",
]
