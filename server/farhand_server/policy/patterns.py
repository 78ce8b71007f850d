"""Patterns of the policy: each matches one element of a command and never reaches over its borders. Pure.

They are those of fnmatch (`*`, `?`, `[…]`, case counts, no escape but `[*]`), with three habits of sudoers(5) turned
into rules, since each is a known way around it:

- In the path of a program, a wildcard does not match a `/`.
- A pattern that begins with a wildcard does not match an argument that begins with `-`: whoever may name a file may
  not, by that, give an option.
- A pattern with a wildcard and a `/` does not match an argument with a component `..`: `/srv/*` stays below /srv.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import translate
from functools import lru_cache
from itertools import takewhile
from typing import Final

ANYTHING: Final = "*"
"""As a program: any, also one that cannot be found. As a user or key: anybody."""

FURTHER: Final = "..."
"""As the last element of a command: any further arguments, or none."""

_WILDCARDS: Final = ("*", "?", "[")
_UPWARDS: Final = re.compile(r"(?:^|[/=:,])\.\.(?:/|$)")


# A large policy has some hundred patterns; 4096 compiled ones take a few megabytes at the most.
@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))


def text(value: bytes) -> str:
    """Return bytes as the text that patterns are matched against; what is not UTF-8 is kept apart (PEP 383)."""
    return value.decode(errors="surrogateescape")


def has_wildcard(pattern: str) -> bool:
    """Whether `pattern` can match more than itself."""
    return any(wildcard in pattern for wildcard in _WILDCARDS)


def matches_name(patterns: Iterable[str], name: bytes) -> bool:
    """Whether one of `patterns` matches a name, such as that of an environment variable."""
    return any(_compiled(pattern).match(text(name)) for pattern in patterns)


def matches_arguments(patterns: Sequence[str], arguments: Sequence[bytes]) -> bool:
    """Whether `patterns` match `arguments` one by one; a last `...` matches those that are left."""
    if patterns and patterns[-1] == FURTHER:
        patterns = patterns[:-1]
        arguments = arguments[: len(patterns)]
    return len(patterns) == len(arguments) and all(map(_matches_argument, patterns, arguments))


def _matches_argument(pattern: str, argument: bytes) -> bool:
    given = text(argument)
    if given.startswith("-") and pattern.startswith(_WILDCARDS):
        return False
    if "/" in pattern and has_wildcard(pattern) and _UPWARDS.search(given):
        return False
    return _compiled(pattern).match(given) is not None


def matches_program(pattern: str, found: bytes, real: Callable[[bytes], bytes]) -> bool:
    """Whether an absolute `pattern` matches the program at `found`, whose directory has no symbolic links.

    `real` returns a directory without symbolic links. What precedes the first wildcard goes through it, so that
    `/bin/ls` means the same program where /bin is a link to /usr/bin. The last name is compared as it is: it is what
    programs of many names (busybox, update-alternatives(1)) go by.
    """
    *directories, last = pattern.split("/")[1:]
    *above, name = text(found).split("/")[1:]
    if not _compiled(last).match(name):
        return False
    fixed = list(takewhile(lambda part: not has_wildcard(part), directories))
    base = [part for part in text(real(("/" + "/".join(fixed)).encode())).split("/") if part]
    rest = directories[len(fixed) :]
    return above[: len(base)] == base and _match_parts(rest, above[len(base) :])


def _match_parts(patterns: Sequence[str], parts: Sequence[str]) -> bool:
    return len(patterns) == len(parts) and all(
        _compiled(pattern).match(part) for pattern, part in zip(patterns, parts, strict=True)
    )
