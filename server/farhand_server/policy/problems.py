"""pydantic's findings about a policy as sentences: file, rule, key, what was wrong, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from farhand_server.config.model import Section, sections
from farhand_server.config.problems import MAX_PROBLEMS, sentence

from .model import Policy, Rule

RULES: Final = "rules"


def describe(error: ValidationError, data: Mapping[str, Any], file: Path) -> list[str]:
    """A sentence for each finding in `error`, MAX_PROBLEMS at most. `data` is the file as it was read."""
    found = error.errors(include_url=False)
    lines = []
    for finding in found[:MAX_PROBLEMS]:
        where, model, loc = _rule(finding["loc"], data)
        if finding["type"] == "extra_forbidden":
            told = f"unknown key {_unknown(model, loc)}"
        else:
            told = ": ".join(part for part in (_place(loc), sentence(finding)) if part)
        lines.append(f"{file}: {where}{told}")
    if len(found) > MAX_PROBLEMS:
        lines.append(f"{file}: and {len(found) - MAX_PROBLEMS} more")
    return lines


def _rule(loc: tuple[int | str, ...], data: Mapping[str, Any]) -> tuple[str, type[Section], tuple[int | str, ...]]:
    """What stands before the finding, and what the rest of its place is inside of."""
    if loc[:1] != (RULES,) or len(loc) < 2:
        return "", Policy, loc
    number = int(loc[1])
    table = data[RULES][number]
    name = table.get("name") if isinstance(table, dict) else None
    return f"rule {number + 1}{f' ({name[:64]!a})' if isinstance(name, str) else ''}: ", Rule, loc[2:]


def _place(loc: tuple[int | str, ...]) -> str:
    """`who.users, item 2`, counted from 1."""
    place = ".".join(part for part in loc if isinstance(part, str))
    return place + "".join(f", item {part + 1}" for part in loc if isinstance(part, int))


def _unknown(model: type[Section], loc: tuple[int | str, ...]) -> str:
    *above, key = (str(part) for part in loc)
    for name in above:
        model = sections(model)[name]
    told = f"{_place(loc)!a}".strip("'")
    near = difflib.get_close_matches(key, model.model_fields, n=1)
    return f"{told}; did you mean '{near[0]}'?" if near else told
