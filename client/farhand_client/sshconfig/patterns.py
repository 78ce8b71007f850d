"""Patterns of ssh_config(5), PATTERNS: `*` is any text, `?` any character, `!` before a pattern in a list excludes."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, TypeAlias

Match: TypeAlias = "Literal[-1, 0, 1]"
"""1 if a list matches, -1 if a pattern with `!` excludes the text, 0 otherwise."""


def matches(text: str, pattern: str) -> bool:
    """Return whether the whole `text` matches `pattern`, in at most len(text) * len(pattern) steps."""
    at = place = 0
    star, retry = -1, 0
    while at < len(text):
        if place < len(pattern) and pattern[place] == "*":
            star, retry = place, at
            place += 1
        elif place < len(pattern) and pattern[place] in ("?", text[at]):
            at += 1
            place += 1
        elif star >= 0:
            retry += 1
            at, place = retry, star + 1
        else:
            return False
    return all(character == "*" for character in pattern[place:])


def match_list(text: str, patterns: str, *, lower: bool = False) -> Match:
    """Return how `text` matches a list of patterns with commas between. With `lower` they are in lower case."""
    found: Match = 0
    for part in patterns.removesuffix(",").split(","):
        excluded = part.startswith("!")
        pattern = part[1:] if excluded else part
        if matches(text, pattern.lower() if lower else pattern):
            if excluded:
                return -1
            found = 1
    return found


def match_host(name: str, patterns: str) -> bool:
    """Return whether a host name matches a list of patterns."""
    return match_list(name.lower(), patterns, lower=True) == 1
