"""Turns pydantic's errors into sentences for people: file, section, key, what is wrong, what to do."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from farhand_protocol.sentences import closest
from farhand_protocol.toml_lines import line_of
from farhand_server.config.model import Section, ServiceConfig, sections

MAX_PROBLEMS = 20
"""Errors reported at once. More would scroll the first one off the screen."""

_SENTENCES = {
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be a string",
    "is_instance_of": "must be a string",
    "path_type": "must be a string",
    "tuple_type": 'must be an array, such as ["…"]',
    "model_type": "must be a section",
    "literal_error": "must be one of {expected}",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "too_long": "must have at most {max_length} items",
    "too_short": "must not be empty",
    "missing": "is missing",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match the regular expression {pattern}",
    "value_error": "{error}",
}


def config_problems(
    error: ValidationError, model: type[Section], file: Path | None, text: str, options: frozenset[str]
) -> list[str]:
    """Return a sentence for each of pydantic's findings in `error`, at most MAX_PROBLEMS, with its line in `text`.

    `text` is what `file` contains. `options` are the top-level keys that come from the command line rather than from
    `file`.
    """
    found = error.errors(include_url=False)
    lines = []
    for finding in found[:MAX_PROBLEMS]:
        loc = finding["loc"]
        if loc and loc[0] in options:
            where = "--" + str(loc[0]).replace("_", "-")
            lines.append(f"{where}: {finding_sentence(finding)}")
            continue
        line = line_of(text, tuple(part for part in loc if isinstance(part, str)))
        where = f"{file}:{line}" if line else f"{file}"
        if finding["type"] == "extra_forbidden":
            lines.append(f"{where}: {_unknown(model, loc, finding['input'])}")
        else:
            lines.append(f"{where}: {_place(loc)}: {finding_sentence(finding)}")
    if len(found) > MAX_PROBLEMS:
        lines.append(f"{file}: and {len(found) - MAX_PROBLEMS} more")
    return lines


def finding_sentence(finding: Any) -> str:
    """Return a sentence that says what the value in one of pydantic's findings must be, and what was given."""
    text: str = _SENTENCES.get(finding["type"], finding["msg"]).format(**finding.get("ctx", {}))
    given = finding["input"]
    if isinstance(given, str | int | float):
        shown = {True: "true", False: "false"}[given] if isinstance(given, bool) else repr(given)
        text += f", not {shown[:80]}"
    return text


def _place(loc: tuple[int | str, ...]) -> str:
    """Return `[section] key`, with the position of any item counted from 1."""
    names = [str(part) for part in loc if isinstance(part, str)]
    place = f"[{'.'.join(names[:-1])}] {names[-1]}" if len(names) > 1 else names[0]
    return place + "".join(f", item {part + 1}" for part in loc if isinstance(part, int))


def _unknown(model: type[Section], loc: tuple[int | str, ...], given: object) -> str:
    *above, key = (str(part) for part in loc)
    inside = model
    for name in above:
        inside = sections(inside)[name]
    if isinstance(given, dict):
        near = closest(key, sections(inside))
        return f"unknown section [{'.'.join([*above, key])}]" + (
            f"; did you mean [{'.'.join([*above, near])}]?" if near else ""
        )
    text = f"unknown key {_place(loc)}"
    if near := closest(key, inside.model_fields):
        return f"{text}; did you mean '{near}'?"
    if matches := [section for section, keys in _keys_by_section(ServiceConfig, "") if key in keys]:
        return f"{text}; it belongs {f'in {matches[0]}' if matches[0] else 'above the first section'}"
    return text


def _keys_by_section(model: type[Section], name: str) -> Iterator[tuple[str, set[str]]]:
    inner = sections(model)
    yield (f"[{name}]" if name else ""), model.model_fields.keys() - inner.keys()
    for key, kind in inner.items():
        yield from _keys_by_section(kind, f"{name}.{key}".lstrip("."))
