"""The policy's patterns. Each matches one element of a command, and never more than that. Without I/O.

They are a shell's patterns (`*`, `?`, `[…]`, case-sensitive, no escape except `[*]`) with three rules, each of which
prevents a known way around patterns in sudoers(5):

- A wildcard does not match a `/`: `app-*` is a name, and `app-/../../etc/x` is none. There are two exceptions. A `*`
  that is the whole last component of a longer path, as in `/srv/*`, matches everything below. And an argument's pattern
  that is nothing but `*` matches any argument: whoever writes that has named no prefix that an argument could leave.
- A pattern that begins with a wildcard does not match an argument that begins with `-`: permission to name a file is
  not permission to give an option.
- A pattern with a wildcard, except `*` alone, does not match an argument with a component `..`: `/srv/*` cannot leave
  /srv.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import translate
from functools import lru_cache
from itertools import takewhile
from typing import Final

ANYTHING: Final = "*"
"""As a program: any program, even one that cannot be found. As a user or key: anybody."""

MORE_ARGUMENTS: Final = "..."
"""As the last element of a command: any number of further arguments."""

_WILDCARDS: Final = ("*", "?", "[")
_UPWARDS: Final = re.compile(r"(?:^|[/=:,])\.\.(?:/|$)")


# A large policy has a few hundred patterns; 4096 compiled patterns take a few megabytes at most.
@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))


def text(value: bytes) -> str:
    """Return bytes as the text against which patterns are matched. Bytes that are not UTF-8 remain distinct (PEP
    383)."""
    return value.decode(errors="surrogateescape")


def has_wildcard(pattern: str) -> bool:
    """Return whether `pattern` can match anything but itself."""
    return any(wildcard in pattern for wildcard in _WILDCARDS)


@lru_cache(maxsize=1024)
def _compiled_together(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)) or r"(?!)")


def unmatched_name(patterns: Sequence[str], names: Iterable[bytes]) -> bytes | None:
    """Return the first of `names`, such as those of environment variables, that none of `patterns` matches; None if
    there is none. There may be tens of thousands of names."""
    if "*" in patterns:
        return None
    matches = _compiled_together(tuple(patterns)).match
    return next((name for name in names if not matches(text(name))), None)


def matches_arguments(patterns: Sequence[str], arguments: Sequence[bytes]) -> bool:
    """Return whether `patterns` match `arguments` one by one. A final `...` matches all remaining arguments."""
    if patterns and patterns[-1] == MORE_ARGUMENTS:
        patterns = patterns[:-1]
        arguments = arguments[: len(patterns)]
    return len(patterns) == len(arguments) and all(map(_matches_argument, patterns, arguments))


def _matches_argument(pattern: str, argument: bytes) -> bool:
    given = text(argument)
    if given.startswith("-") and pattern.startswith(_WILDCARDS):
        return False
    if not has_wildcard(pattern):
        return pattern == given
    if _is_stars(pattern):
        return True
    if _UPWARDS.search(given):
        return False
    *above, last = pattern.split("/")
    if above and _is_stars(last):
        parts = given.split("/", len(above))
        return len(parts) > len(above) and _match_parts(above, parts[:-1])
    return _match_parts([*above, last], given.split("/"))


def _is_stars(pattern: str) -> bool:
    return bool(pattern) and not pattern.strip("*")


def matches_program(pattern: str, found: bytes, real: Callable[[bytes], bytes]) -> bool:
    """Return whether an absolute `pattern` matches the program at `found`, whose directory has no symbolic links.

    `real` resolves the symbolic links in a directory. It is applied to the part before the first wildcard, so that
    `/bin/ls` is the same program if /bin is a link to /usr/bin. The last name is compared without resolving links,
    because programs with several names (busybox, update-alternatives(1)) depend on it.
    """
    *directories, last = pattern.split("/")[1:]
    *above, name = text(found).split("/")[1:]
    if not _compiled(last).match(name):
        return False
    fixed = fixed_directory(pattern)
    base = [part for part in text(real(fixed)).split("/") if part]
    rest = directories[fixed.count(b"/") if fixed != b"/" else 0 :]
    return above[: len(base)] == base and _match_parts(rest, above[len(base) :])


def fixed_directory(pattern: str) -> bytes:
    """Return the directory in the path of a program before the first wildcard, as it is written in `pattern`."""
    directories = pattern.split("/")[1:-1]
    return ("/" + "/".join(takewhile(lambda part: not has_wildcard(part), directories))).encode()


def _match_parts(patterns: Sequence[str], parts: Sequence[str]) -> bool:
    return len(patterns) == len(parts) and all(
        _compiled(pattern).match(part) for pattern, part in zip(patterns, parts, strict=True)
    )
