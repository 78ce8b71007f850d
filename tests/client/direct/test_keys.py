"""The keys of the direct path, which are those of the asyncio client in the same order."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from farhand_client.direct.deadline import DirectDeadline, NotDirectError
from farhand_client.direct.keys import LoginKey, login_keys
from farhand_client.direct.signals import CollectedSignals
from farhand_client.trust.agent import Agent
from farhand_client.trust.identities import Identities, default_key_files
from farhand_protocol.login import LOGIN_NAMESPACE
from farhand_protocol.sshformat import format_public_key_line
from tests.support import openssh
from tests.support.openssh import SoftwareSecurityKey


@pytest.fixture
def deadline(monkeypatch: pytest.MonkeyPatch) -> Iterator[DirectDeadline]:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with CollectedSignals() as signals:
        yield DirectDeadline(30, signals)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / "config").mkdir()
    return tmp_path


def offered(home: Path, deadline: DirectDeadline, *named: Path) -> list[LoginKey]:
    """Return the keys up to the first that the asyncio client must ask about."""
    found = []
    try:
        for key in login_keys(list(map(str, named)), str(home / "config"), str(home), deadline):
            found.append(key)
    except NotDirectError:
        pass
    return found


async def descriptions(home: Path, *named: Path) -> list[str]:
    """Return what the asyncio client would try."""
    identities = Identities(
        named=named,
        agent=Agent.from_environment(os.environ),
        own=default_key_files(home / "config"),
        usual=default_key_files(home / ".ssh"),
    )
    return [identity.description async for identity in identities]


async def test_keys_come_in_the_order_of_the_asyncio_client(
    home: Path, deadline: DirectDeadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    openssh.make_key(home / "config/id_ed25519")
    openssh.make_key(home / ".ssh/id_ed25519")
    openssh.make_key(home / ".ssh/id_ecdsa", "ecdsa")
    openssh.make_key(home / "other")
    with openssh.running_agent(home, home / "other", home / ".ssh/id_ecdsa") as socket:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        found = offered(home, deadline)
        assert [key.description for key in found] == await descriptions(home)
        assert [key.public_key.type for key in found] == [
            "ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-ed25519", "ssh-ed25519"
        ]  # fmt: skip
        for number, key in enumerate(found):
            blob = key.sign(b"transcript", deadline)
            directory = home / str(number)
            directory.mkdir()
            assert openssh.verifies(directory, key.public_key, blob, b"transcript", LOGIN_NAMESPACE)


async def test_named_keys_are_the_only_ones(
    home: Path, deadline: DirectDeadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    openssh.make_key(home / "config/id_ed25519")
    openssh.make_key(home / "named")
    openssh.make_key(home / "loaded")
    with openssh.running_agent(home, home / "loaded") as socket:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        (home / "loaded").unlink()
        named = (home / "named", home / "loaded.pub", home / "loaded")
        assert [key.description for key in offered(home, deadline, *named)] == await descriptions(home, *named)
    for missing in (home / "nothing", home / "loaded.pub"):
        assert offered(home, deadline, missing) == []


@pytest.mark.parametrize("kind", ["passphrase", "ecdsa", "pem"])
def test_at_a_key_that_takes_more_the_asyncio_client_takes_over(
    home: Path, deadline: DirectDeadline, kind: str
) -> None:
    path = home / "config/id_ed25519"
    if kind == "passphrase":
        openssh.make_key(path, passphrase="secret")
    elif kind == "ecdsa":
        openssh.make_key(path, "ecdsa")
    else:
        openssh.make_key(path, "ecdsa", file_format="PEM")
    with pytest.raises(NotDirectError):
        next(login_keys([], str(home / "config"), str(home), deadline))


async def test_files_that_cannot_be_used_are_passed_over(home: Path, deadline: DirectDeadline) -> None:
    (home / "config/id_ed25519").write_text("nothing")
    openssh.make_key(home / "config/id_rsa")
    (home / "config/id_rsa").chmod(0o644)
    openssh.make_key(home / ".ssh/id_ed25519")
    assert [key.description for key in offered(home, deadline)] == await descriptions(home)


def test_a_security_key_needs_a_touch(home: Path, deadline: DirectDeadline) -> None:
    key = SoftwareSecurityKey.ed25519().public_key
    (home / "sk.pub").write_text(format_public_key_line(key) + "\n")
    assert offered(home, deadline, home / "sk.pub") == []


def test_an_agent_that_does_not_answer_is_as_none(
    home: Path, deadline: DirectDeadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(home / "nothing"))
    openssh.make_key(home / "config/id_ed25519")
    assert len(offered(home, deadline)) == 1


def test_a_key_that_has_left_the_agent_cannot_sign(
    home: Path, deadline: DirectDeadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    openssh.make_key(home / "loaded")
    with openssh.running_agent(home, home / "loaded") as socket:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        key = offered(home, deadline)[0]
    shutil.rmtree(home / ".ssh")
    with pytest.raises(NotDirectError):
        key.sign(b"transcript", deadline)
