"""Proof that a connection may still be used: what decided about it at its start is as it was then.

A key that was deleted or replaced, an agent that is locked or no longer holds the key, another known_hosts: the next
command connects by itself and finds out what that means.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final, TypeAlias

from farhand_client.trust import AgentError
from farhand_client.trust.agent import Agent

AGENT_TIMEOUT: Final = 0.08
"""Seconds that the agent has for its list of keys: less than the caller waits (`mux.ask.HELPER_TIMEOUT`)."""

FileMark: TypeAlias = tuple[int, int, int, int, int]


def file_mark(path: str | bytes) -> FileMark | None:
    """Return what changes with a file's contents; None if there is no file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class UnchangedFiles:
    """Files as they are now. They need not exist."""

    def __init__(self, paths: Iterable[str | bytes]) -> None:
        self._marks = {path: file_mark(path) for path in paths}

    def __bool__(self) -> bool:
        return all(file_mark(path) == mark for path, mark in self._marks.items())


class ConnectionProof:
    """What has to be as it was for one connection: some files, and a key in an agent if it was one that logged in."""

    def __init__(self, files: UnchangedFiles, agent: Agent | None = None, blob: bytes = b"") -> None:
        self.files: Final = files
        self.agent: Final = agent
        self._blob = blob

    async def in_agent(self) -> bool:
        """Return whether the agent still holds the key. A locked agent lists none."""
        if self.agent is None:
            return True
        try:
            usable, _ = await self.agent.keys(AGENT_TIMEOUT)
        except AgentError:
            return False
        return any(key.public_key.blob == self._blob for key in usable)
