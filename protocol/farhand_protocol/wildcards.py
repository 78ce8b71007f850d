"""Patterns as in PATTERNS of ssh_config(5)."""

from __future__ import annotations


def matches_pattern(text: str, pattern: str) -> bool:
    """Return whether `pattern` matches all of `text`. `*` matches any characters, including none; `?` matches exactly
    one.

    The rules are those of PATTERNS in ssh_config(5). Whatever the pattern, the worst-case time is proportional to the
    product of the two lengths.
    """
    at, in_pattern = 0, 0
    star, resume = -1, 0
    while at < len(text):
        if in_pattern < len(pattern) and pattern[in_pattern] == "*":
            star, resume = in_pattern, at
            in_pattern += 1
        elif in_pattern < len(pattern) and pattern[in_pattern] in ("?", text[at]):
            at += 1
            in_pattern += 1
        elif star >= 0:
            resume += 1
            at, in_pattern = resume, star + 1
        else:
            return False
    return not pattern[in_pattern:].strip("*")
