"""A connection may be used as long as its key and files are what they were, and the agent still holds the key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from farhand_client.helper.proof import ConnectionProof, UnchangedFiles, file_mark
from farhand_client.trust import AgentError
from farhand_client.trust.agent import Agent
from farhand_client.trust.agent_messages import AgentKey
from farhand_protocol.sshformat import PublicKey


def test_files_are_unchanged_until_anything_happens_to_them(tmp_path: Path) -> None:
    key, missing = tmp_path / "key", tmp_path / "missing"
    key.write_text("a")
    files = UnchangedFiles([str(key), bytes(missing)])
    assert files
    missing.touch()
    assert not files
    missing.unlink()
    assert files
    (tmp_path / "new").write_text("b")
    (tmp_path / "new").rename(key)
    assert not files
    assert UnchangedFiles([str(key)])
    os.chmod(key, 0o600)
    key.unlink()
    assert file_mark(bytes(key)) is None


class FakeAgent(Agent):
    """Lists one key, unless it is locked."""

    def __init__(self, blob: bytes | None) -> None:
        super().__init__("/agent")
        self.blob = blob

    async def keys(self, timeout: float = 0) -> tuple[list[AgentKey], list[object]]:  # type: ignore[override]
        if self.blob is None:
            raise AgentError("locked")
        return [AgentKey(PublicKey("ssh-ed25519", self.blob), "")], []


@pytest.mark.parametrize(("listed", "allowed"), [(b"key", True), (b"other", False), (None, False)])
async def test_the_agent_must_still_hold_the_key(listed: bytes | None, allowed: bool) -> None:
    assert await ConnectionProof(UnchangedFiles([]), FakeAgent(listed), b"key").in_agent() is allowed


async def test_a_key_in_a_file_needs_no_agent() -> None:
    assert await ConnectionProof(UnchangedFiles([])).in_agent()
