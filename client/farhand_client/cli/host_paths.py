"""`HOST:PATH` as rsync(1) and scp(1) write it: which words of a command line are paths on another machine."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from farhand_protocol.sentences import shell_quoted

STANDARD: Final = "-"
"""Stands for stdin or stdout."""

_HOST: Final = re.compile(r"((?:[^@/]*@)?(?:\[[^]/]*\]|[^:/\[]*)(?::[0-9]{1,5}(?=:))?):(.*)", re.DOTALL)
"""No slash before the colon, so that `./a:b` and `/a:b` are here; a port only where another colon follows it."""

_BY_SSH: Final = re.compile(
    r"(ssh:(?![0-9]+:)(?:[^@/:]*@)?(?:\[[^]/]*\]|[^:/\[]+)(?::[0-9]{1,5}(?=:))?):(.*)", re.DOTALL
)
"""Two colons at least: with one, the host is called ssh, as with two after a port."""

_SOCKET: Final = re.compile(r"(unix:[^:]*):(.*)", re.DOTALL)


class HostPath(NamedTuple):
    """A path on the machine `host`, or on this one if that is None; an empty `host` is the default one."""

    host: str | None
    path: str

    @property
    def is_directory(self) -> bool:
        """Whether it can only be a directory, as it is written."""
        return not self.path or self.path.endswith("/") or self.path.rpartition("/")[2] in (".", "..")


def parse_host_path(word: str) -> HostPath:
    """Return what `word` names: `[user@]host[:port]:PATH`, `unix:SOCKET:PATH`, `ssh:[user@]host:PATH`, or else a path
    on this machine."""
    match = _SOCKET.fullmatch(word) if word.startswith("unix:") else _BY_SSH.fullmatch(word) or _HOST.fullmatch(word)
    return HostPath(None, word) if match is None else HostPath(match[1], match[2])


def parse_url(word: str) -> str | None:
    """Return how the URL `word` is written as `HOST:PATH`; None if it is no URL."""
    match = re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://([^/]*)(/.*)?", word, re.DOTALL)
    return None if match is None else f"{match[1]}:{match[2] or ''}"


def remote_bytes(path: str) -> bytes:
    """Return a path on another machine as it is sent: one that begins with `~/` is relative to the home directory, as
    all relative ones are, since no shell expands it there; nothing at all is that directory."""
    if path == "~":
        path = ""
    elif path.startswith("~/"):
        path = path[2:].lstrip("/")
    return os.fsencode(path) or b"."


def command_line(command: str, words: Sequence[str]) -> str:
    """Return a line to type."""
    return f"farhand {command} {shell_quoted(words)}"
