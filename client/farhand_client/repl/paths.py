"""What a word after `:put` and `:get` names, here and there, and the names here that complete it.

The prompt loads this before there is a connection: it imports little.
"""

from __future__ import annotations

import glob
import os

from .completion import MAX_NAMES, CompletionQuery
from .lines import encode


def remote_path(word: str, directory: bytes | None) -> bytes:
    """Return the path that `word` names in `directory`; None is the home directory, where `~/` also begins."""
    if word == "~" or word.startswith("~/"):
        return encode(word[2:].lstrip("/")) or b"."
    return encode(word) if directory is None else os.path.join(directory, encode(word))


def local_paths(word: str) -> list[bytes]:
    """Return the paths on this machine that `word` stands for: those that match if it is a pattern, or else itself."""
    path = os.fsencode(expanded(word))
    if os.path.lexists(path) or not glob.has_magic(path):
        return [path]
    return sorted(glob.glob(path)) or [path]


def local_names(query: CompletionQuery) -> bytes:
    """Return what the remote script would print for `query`, but for this machine; waits for the disk."""
    begin = os.fsencode(query.begin)
    directory = os.fsencode(expanded(query.directory or "."))
    entries = []
    try:
        with os.scandir(directory) as found:
            for entry in found:
                if entry.name.startswith(begin) and (begin or not entry.name.startswith(b".")):
                    entries.append((b"/" if _is_directory(entry) else b" ") + entry.name + b"\0")
                    if len(entries) >= MAX_NAMES:
                        break
    except OSError:
        return b""
    return b"".join(entries)


def _is_directory(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def expanded(word: str) -> str:
    """Return a path on this machine with the home directory for a `~/` at its beginning."""
    return os.path.expanduser(word) if word == "~" or word.startswith("~/") else word
