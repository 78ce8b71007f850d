"""The effective configuration as TOML, such that reading it again gives the same."""

import math
from pathlib import Path

from farhand_server.config.model import Config, Section
from farhand_server.config.values import Address


def effective(config: Config) -> str:
    """Every key of *config* with the value that holds, as TOML; sizes in bytes, durations in seconds."""
    return "".join(_section(config, "")).lstrip("\n")


def _section(section: Section, name: str) -> list[str]:
    lines = [f"\n[{name}]\n"] if name else []
    inner: list[str] = []
    for key in type(section).model_fields:
        value = getattr(section, key)
        if isinstance(value, Section):
            inner += _section(value, f"{name}.{key}".lstrip("."))
        elif value is not None:
            lines.append(f"{key} = {render(value)}\n")
    return lines + inner


def render(value: object) -> str:
    """One value in TOML 1.0. Raises TypeError for a type the configuration does not have."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return repr(value) if math.isfinite(value) else str(value)
        case str() | Path() | Address():
            return _string(str(value))
        case tuple():
            return "[" + ", ".join(render(item) for item in value) + "]"
        case _:
            raise TypeError(f"{type(value).__name__} has no place in the configuration")


def _string(text: str) -> str:
    """A basic string; what TOML forbids in one, and what a terminal would obey, is escaped."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'
