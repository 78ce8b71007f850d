"""Patterns of ssh_config(5), PATTERNS: `*` is any text, `?` any character, `!` before a pattern in a list excludes."""

from __future__ import annotations

from farhand_protocol.wildcards import matches_pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, TypeAlias

Match: TypeAlias = "Literal[-1, 0, 1]"
"""1 if a list matches, -1 if a pattern with `!` excludes the text, 0 otherwise."""


def match_list(text: str, patterns: str, *, lower: bool = False) -> Match:
    """Return how `text` matches a list of patterns with commas between. With `lower` they are in lower case."""
    found: Match = 0
    for part in patterns.removesuffix(",").split(","):
        excluded = part.startswith("!")
        pattern = part[1:] if excluded else part
        if matches_pattern(text, pattern.lower() if lower else pattern):
            if excluded:
                return -1
            found = 1
    return found


def match_host(name: str, patterns: str) -> bool:
    """Return whether a host name matches a list of patterns."""
    return match_list(name.lower(), patterns, lower=True) == 1
