"""Patterns of the files to send, as in glob(7), expanded on the side that has them, and never by a shell.

A name that exists is taken literally, whatever it contains. Names and patterns are UTF-8 where they can be, so that `?`
is one character; all other bytes are characters of their own. A leading dot must be written. Matching takes time in
proportion to the lengths of name and pattern, whatever they are.
"""

from __future__ import annotations

import errno
import os
import string
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

from .opening import Area

MAX_MATCHES: Final = 65_536
"""Files that one pattern may match: more than shells pass to a command. Their names are held in memory (some 10 MiB) to
be sorted; whole directories are streamed instead."""


class _Characters(NamedTuple):
    """A bracket expression, or `?`: any character that is in it, or with `inverted` any that is not."""

    ranges: tuple[tuple[str, str], ...]
    inverted: bool


_ANY: Final = _Characters((), True)
_STAR: Final = None
_Token: TypeAlias = str | _Characters | None

_CLASSES: Final = {
    "alpha": string.ascii_letters,
    "alnum": string.ascii_letters + string.digits,
    "blank": " \t",
    "cntrl": "".join(map(chr, [*range(32), 127])),
    "digit": string.digits,
    "graph": "".join(map(chr, range(33, 127))),
    "lower": string.ascii_lowercase,
    "print": "".join(map(chr, range(32, 127))),
    "punct": string.punctuation,
    "space": string.whitespace,
    "upper": string.ascii_uppercase,
    "xdigit": string.hexdigits,
}


def is_pattern(path: bytes) -> bool:
    """Return whether a path contains anything that makes it a pattern."""
    return any(character in path for character in b"*?[")


def expand(area: Area, pattern: bytes) -> list[bytes]:
    """Return the paths that match, sorted. A path that exists or is no pattern is returned as it is.

    Raises OSError: a directory of the pattern cannot be read, or too many files match.
    """
    if not is_pattern(pattern) or _exists(area, pattern):
        return [pattern]
    rooted = pattern.startswith(b"/")
    ending = b"/" if pattern.endswith(b"/") else b""
    components = [each for each in pattern.split(b"/") if each]
    found = [b"/" if rooted else b""]
    for at, component in enumerate(components):
        inner = at + 1 < len(components) or bool(ending)
        if is_pattern(component):
            found = [path for above in found for path in _matches_in(area, above, component, inner)]
            if len(found) > MAX_MATCHES:
                raise _too_many(pattern)
        else:
            found = [above + component + (b"/" if inner else b"") for above in found]
    if not is_pattern(components[-1]):
        found = [path for path in found if _exists(area, path)]
    return sorted(found if ending else [path.rstrip(b"/") for path in found])


def _too_many(pattern: bytes) -> OSError:
    return OSError(errno.E2BIG, f"more than {MAX_MATCHES} files match; transfer their directory instead", pattern)


def _exists(area: Area, path: bytes) -> bool:
    try:
        directory, name = area.parent(path, follow=False)
    except IsADirectoryError:
        return True
    except OSError:
        return False
    with directory:
        try:
            os.lstat(name, dir_fd=directory.fd)
        except OSError:
            return False
    return True


def _matches_in(area: Area, above: bytes, component: bytes, inner: bool) -> Iterator[bytes]:
    """Yield what matches in a directory; with `inner`, only what may be a directory."""
    tokens = compile_pattern(component)
    hidden = takes_hidden(component)
    try:
        with area.open_directory(above or b".") as directory:
            fd = directory.readable()
    except (FileNotFoundError, NotADirectoryError):
        return
    count = 0
    try:
        with os.scandir(fd) as scan:
            for entry in scan:
                name = os.fsencode(entry.name)
                if name.startswith(b".") and not hidden:
                    continue
                if inner and not (entry.is_dir(follow_symlinks=False) or entry.is_symlink()):
                    continue
                if matches(tokens, name):
                    count += 1
                    if count > MAX_MATCHES:
                        raise _too_many(above + component)
                    yield above + name + (b"/" if inner else b"")
    finally:
        os.close(fd)


def takes_hidden(component: bytes) -> bool:
    """Return whether a component of a pattern matches names with a leading dot, and only these."""
    return component.startswith((b".", b"\\."))


def compile_pattern(component: bytes) -> list[_Token]:
    """Return one component of a pattern in the form that `matches` takes."""
    text = _text(component)
    tokens: list[_Token] = []
    at = 0
    while at < len(text):
        character = text[at]
        at += 1
        if character == "*":
            if not tokens or tokens[-1] is not _STAR:
                tokens.append(_STAR)
        elif character == "?":
            tokens.append(_ANY)
        elif character == "[":
            characters, at = _bracket(text, at)
            tokens.append(characters)
        elif character == "\\" and at < len(text):
            tokens.append(text[at])
            at += 1
        else:
            tokens.append(character)
    return tokens


def _bracket(text: str, start: int) -> tuple[_Token, int]:
    """Return the bracket expression that begins at `start`, and where it ends; one without an end is a bracket."""
    at = start
    inverted = text[at : at + 1] in ("!", "^")
    at += inverted
    ranges: list[tuple[str, str]] = []
    first = at
    while at < len(text):
        if text[at] == "]" and at > first:
            return _Characters(tuple(ranges), inverted), at + 1
        end = text.find(":]", at) if text.startswith("[:", at) else -1
        if end >= 0 and text[at + 2 : end] in _CLASSES:
            ranges += ((each, each) for each in _CLASSES[text[at + 2 : end]])
            at = end + 2
            continue
        at += text[at] == "\\" and at + 1 < len(text)
        if text[at + 1 : at + 2] == "-" and text[at + 2 : at + 3] not in ("", "]"):
            ranges.append((text[at], text[at + 2]))
            at += 3
        else:
            ranges.append((text[at], text[at]))
            at += 1
    return "[", start


def matches(tokens: list[_Token], name: bytes) -> bool:
    """Return whether a whole name matches."""
    text = _text(name)
    at = token = 0
    star = resume = -1
    while at < len(text):
        if token < len(tokens) and tokens[token] is _STAR:
            star, resume = token, at
            token += 1
        elif token < len(tokens) and _fits(tokens[token], text[at]):
            token += 1
            at += 1
        elif star >= 0:
            resume += 1
            token, at = star + 1, resume
        else:
            return False
    return all(each is _STAR for each in tokens[token:])


def _fits(token: _Token, character: str) -> bool:
    if isinstance(token, _Characters):
        return any(low <= character <= high for low, high in token.ranges) is not token.inverted
    return token == character


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
