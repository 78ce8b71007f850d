"""Which files are taken: excludes, sizes, times. No I/O.

Excludes are lines of gitignore(5): later ones win, `!` takes again what an earlier one has excluded, and what is below
an excluded directory is never looked at. They are about the paths of entries: `/build` is the directory `build` of
`SRC/`, and of `SRC` it is `/SRC/build`, as in rsync. As in git, names are bytes, and patterns are their own UTF-8, so
that `?` is one byte.
"""

from __future__ import annotations

import re
import warnings
from typing import Any, Final

from .options import TransferOptions
from .wire import WireError

_CHARACTERS: Final = {byte: 0x100 + byte for byte in range(256) if not 0x20 <= byte < 0x7F}
"""Each byte of a name is one character for pathspec, and what is no printable ASCII is a letter: pathspec strips white
space from patterns (U+0085 and U+00A0 are some), and some of its patterns match no line feed."""

MAX_MEMORY: Final = 32 << 20
"""Bytes of memory for excludes that have the same effect and follow each other: enough for 1024 of 60 characters."""

_CLASS: Final = re.compile(r"\[:[a-z]+:\]")


class Selection:
    """What the options of a transfer take of a tree. Raises `WireError` for a pattern that is none."""

    def __init__(self, options: TransferOptions) -> None:
        self._options = options
        rules = _rules(options.excludes) if options.excludes else []
        self._for_directories = _in_order([(excludes, regex) for excludes, regex, _ in rules])
        self._for_files = _in_order([(excludes, regex) for excludes, regex, directories in rules if not directories])

    def takes(self, path: bytes, is_directory: bool, size: int = -1, mtime: int = 0) -> bool:
        """Return whether an entry is transferred. `size` (-1: unknown) and `mtime` (ns) are those of a regular file.

        What is below a directory that is not taken must not be asked about. With `delete`, files are also taken that
        are too large or too old: the receiver has to know that they exist, and leaves its own as they are.
        """
        if self.excludes(path, is_directory):
            return False
        return is_directory or self._options.delete or self._options.in_range(size, mtime)

    def excludes(self, path: bytes, is_directory: bool) -> bool:
        """Return whether an exclude is about this path. `delete` keeps such a path, too."""
        rules = self._for_directories if is_directory else self._for_files
        if rules and path:
            text = _text(path)
            for excludes, expression in rules:
                if expression.fullmatch(text):
                    return excludes
        return False


def _rules(lines: tuple[str, ...]) -> list[tuple[bool, str, bool]]:
    """Return for each pattern: whether it excludes, its regular expression, and whether it is only for directories."""
    from pathspec import GitIgnoreSpec  # takes 30 ms, and most transfers have no excludes

    rules = []
    for line in lines:
        if _CLASS.search(line):
            raise WireError(f"the exclude {line!r} has a class of characters; write a range such as [a-z] instead")
        text = _without_trailing_spaces(_text(line.encode("utf-8", "surrogateescape")))
        directories = text.endswith("/")
        text = text.removesuffix("/")
        if text.endswith("/**"):
            text += "/*"  # it is about what is below; pathspec applies it to the directory itself, too
        try:
            with warnings.catch_warnings(action="ignore"):  # `[[`, `--` may mean something else to a later Python
                patterns = GitIgnoreSpec.from_lines([text]).patterns
        except (ValueError, re.error) as error:
            raise WireError(f"the exclude {line!r} is no pattern of gitignore(5): {error}") from None
        rules += [(bool(each.include), _expression(each), directories) for each in patterns if each.include is not None]
    return rules


def _expression(pattern: Any) -> str:
    text: str = pattern.regex.pattern
    text = text.replace("(?P<ps_d>/)", "/")  # a group that pathspec looks at, and re2 accepts only once
    return ".*" if text == "." else text.replace("[^", "[^/")  # a set never matches a slash


def _in_order(rules: list[tuple[bool, str]]) -> list[tuple[bool, Any]]:
    """Return the rules, the last first, those that follow each other with the same effect as one expression of re2: its
    time is linear, whatever the patterns are."""
    if not rules:
        return []
    import re2  # type: ignore[import-untyped]  # it ships no type information

    joined: list[tuple[bool, list[str]]] = []
    for excludes, regex in reversed(rules):
        if joined and joined[-1][0] == excludes:
            joined[-1][1].append(regex)
        else:
            joined.append((excludes, [regex]))
    options = re2.Options()
    options.max_mem = MAX_MEMORY
    options.log_errors = False
    try:
        return [(excludes, re2.compile("(?s:" + "|".join(regexes) + ")", options)) for excludes, regexes in joined]
    except re2.error as error:
        raise WireError(f"the excludes of a transfer are too many or too long: {error}") from None


def _without_trailing_spaces(text: str) -> str:
    stripped = text.rstrip(" ")
    escapes = len(stripped) - len(stripped.rstrip("\\"))
    return stripped + " " if escapes % 2 and stripped != text else stripped


def _text(name: bytes) -> str:
    return name.decode("latin-1").translate(_CHARACTERS)
