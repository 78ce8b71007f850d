"""The keys that are authorized are those that this client offers."""

from __future__ import annotations

from pathlib import Path

import pytest

from farhand_client.errors import AuthenticationError
from farhand_client.trust import IdentityError
from farhand_client.up.offered_keys import MAX_OFFERED, fingerprint_of, offered_keys
from tests.support.openssh import make_key, running_agent


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and no agent."""
    (tmp_path / ".ssh").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return tmp_path


async def test_the_usual_files_and_the_agent_s_keys_are_offered_once_each(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = make_key(home / ".ssh/id_ed25519", comment="me at home")
    held = make_key(home / "held", comment="held by the agent")
    with running_agent(home, home / "held", home / ".ssh/id_ed25519") as agent:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
        lines = await offered_keys(())
    assert [fingerprint_of(line) for line in lines] == [usual.fingerprint, held.fingerprint]
    assert [line.split(None, 2)[2] for line in lines] == ["me at home", "held by the agent"]


async def test_a_key_with_a_passphrase_is_offered_without_asking_for_it(home: Path) -> None:
    sealed = make_key(home / ".ssh/id_ed25519", passphrase="secret")
    assert [fingerprint_of(line) for line in await offered_keys(())] == [sealed.fingerprint]
    (home / ".ssh/id_ed25519.pub").unlink()
    assert len(await offered_keys(())) == 1  # the file itself has it, too


async def test_named_files_are_the_only_ones(home: Path) -> None:
    make_key(home / ".ssh/id_ed25519")
    named = make_key(home / "named")
    for path in (home / "named", home / "named.pub"):
        assert [fingerprint_of(line) for line in await offered_keys([path])] == [named.fingerprint]
    with pytest.raises(IdentityError, match="no such file"):
        await offered_keys([home / "missing"])


async def test_without_a_key_the_way_to_one_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".ssh/id_ed25519").write_text("nonsense")
    (home / ".ssh/id_ed25519").chmod(0o600)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(home / "no.sock"))
    with pytest.raises(AuthenticationError, match=r"id_ed25519.*ssh-agent at .*make one: ssh-keygen -t ed25519"):
        await offered_keys(())


async def test_no_more_are_offered_than_a_service_tries(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [home / f"key{number}" for number in range(MAX_OFFERED + 1)]
    for path in files:
        make_key(path)
    with running_agent(home, *files) as agent:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
        assert len(await offered_keys(())) == MAX_OFFERED
