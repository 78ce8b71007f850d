"""Which names and paths are accepted from the other side. No I/O.

A receiver makes files under the names that a sender sends. So a path is relative, and each of its components is a name
in the directory before it: there is none that leads up or elsewhere.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from typing import Final

from .wire import MAX_PATH

MAX_COMPONENT: Final = 255
"""Bytes of a component: NAME_MAX of Linux and macOS."""

MAX_PATH_SHOWN: Final = 80
"""Bytes of a refused path that are shown: it may be long, and means harm."""

TEMPORARY: Final = re.compile(rb"\.farhand-[0-9a-f]{16}-[0-9a-f]{8}\.part", re.IGNORECASE)
"""The names of the receiver's own temporary files. Upper case too: some file systems do not distinguish it."""


class BadName(ValueError):
    """A path that is not accepted. The text says which, and why."""


def is_temporary(name: bytes) -> bool:
    """Return whether a temporary file of a transfer has this name."""
    return TEMPORARY.fullmatch(name) is not None


def folded(name: bytes) -> bytes:
    """Return what all spellings of a name have in common that some file systems do not distinguish: those that differ
    only by case, or by Unicode form."""
    if name.isascii():
        return name.lower()
    return _name(unicodedata.normalize("NFD", _text(name).casefold()))


def spellings(name: bytes) -> set[bytes]:
    """Return some other spellings of a name, so that one of them shows whether a file system distinguishes any."""
    text = _text(name)
    forms = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    return {_name(each) for each in (text.lower(), text.upper(), *forms)} - {name}


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _name(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def check_path(path: bytes) -> tuple[bytes, ...]:
    """Return the components of the path of an entry; none for the empty path, which is the destination itself.

    Raises `BadName`."""
    if not path:
        return ()
    if len(path) > MAX_PATH:
        raise BadName(f"the path {_shown(path)} has {len(path)} bytes; the maximum is {MAX_PATH}")
    if path.startswith(b"/"):
        raise BadName(f"the path {_shown(path)} is absolute; only paths below the destination are accepted")
    if b"\0" in path:
        raise BadName(f"the path {_shown(path)} contains a NUL character")
    components = tuple(path.split(b"/"))
    for name in components:
        if not name:
            raise BadName(f"the path {_shown(path)} has an empty component")
        if name == b"..":
            raise BadName(f"the path {_shown(path)} contains '..'; only paths below the destination are accepted")
        if name == b".":
            raise BadName(f"the path {_shown(path)} contains '.', which is no name")
        if len(name) > MAX_COMPONENT:
            raise BadName(
                f"the path {_shown(path)} has a component of {len(name)} bytes; the maximum is {MAX_COMPONENT}"
            )
        if is_temporary(name):
            raise BadName(f"the path {_shown(path)} has a name that is reserved for temporary files of transfers")
    return components


def _shown(path: bytes) -> str:
    shown = path if len(path) <= MAX_PATH_SHOWN else path[:MAX_PATH_SHOWN] + b"..."
    return repr(shown)[1:]


def entry_path(named: bytes, known: Collection[bytes]) -> bytes | None:
    """Return which of the paths of entries that are `known` is meant by one that its own side has named, as in
    `events.Trouble`: that ends with it. None if it is none of them."""
    if not known:
        return None
    at = 0
    while named[at:] not in known:
        at = named.find(b"/", at) + 1
        if not at:
            return None
    return named[at:]
