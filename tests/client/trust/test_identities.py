"""The identities to log in with: which ones, in which order, and why some could not be tried."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from farhand_client.trust import AgentError, IdentityError
from farhand_client.trust.agent import Agent
from farhand_client.trust.identities import AgentIdentity, Identities, Identity, default_key_files
from farhand_protocol.login import LOGIN_NAMESPACE
from farhand_protocol.sshformat import PublicKey, format_public_key_line
from tests.support import openssh
from tests.support.openssh import SoftwareSecurityKey

TRANSCRIPT = b"a transcript"

pytestmark = pytest.mark.needs("ssh-keygen", "ssh-agent", "ssh-add")


async def assert_signs(directory: Path, identity: Identity, key: PublicKey) -> None:
    assert identity.public_key == key
    blob = await identity.sign(TRANSCRIPT)
    assert openssh.verifies(directory, key, blob, TRANSCRIPT, LOGIN_NAMESPACE)


async def tried(identities: Identities) -> list[tuple[str, PublicKey]]:
    return [(type(identity).__name__, identity.public_key) async for identity in identities]


def default(directory: Path) -> Sequence[Path]:
    (directory / ".ssh").mkdir(exist_ok=True)
    (directory / "config").mkdir(exist_ok=True)
    return default_key_files(directory, directory / "config")


async def test_keys_of_the_agent_come_before_the_default_files_and_none_twice(tmp_path: Path) -> None:
    files = default(tmp_path)
    in_both = openssh.make_key(tmp_path / ".ssh" / "id_ed25519")
    in_file = openssh.make_key(tmp_path / ".ssh" / "id_ecdsa", "ecdsa", bits=256)
    our_own = openssh.make_key(tmp_path / "config" / "id_ed25519")
    in_agent = openssh.make_key(tmp_path / "elsewhere")
    with openssh.running_agent(tmp_path, tmp_path / "elsewhere", tmp_path / ".ssh/id_ed25519") as path:
        identities = Identities(agent=Agent(str(path)), default=files)
        assert await tried(identities) == [
            ("AgentIdentity", in_agent),
            ("AgentIdentity", in_both),
            ("KeyFile", our_own),
            ("KeyFile", in_file),
        ]
    assert identities.problems == []


async def test_with_named_files_nothing_else_is_tried(tmp_path: Path) -> None:
    files = default(tmp_path)
    openssh.make_key(tmp_path / ".ssh" / "id_ed25519")
    named = openssh.make_key(tmp_path / "named")
    openssh.make_key(tmp_path / "other")
    with openssh.running_agent(tmp_path, tmp_path / "other") as path:
        identities = Identities(named=[tmp_path / "named"], agent=Agent(str(path)), default=files)
        assert await tried(identities) == [("KeyFile", named)]


@pytest.mark.parametrize(
    ("name", "left"),
    [("key", "both"), ("key", "public"), ("key", "private"), ("key.pub", "both"), ("key.pub", "public")],
)
async def test_a_named_key_in_the_agent_is_used_through_the_agent(tmp_path: Path, name: str, left: str) -> None:
    key = openssh.make_key(tmp_path / "key")
    with openssh.running_agent(tmp_path, tmp_path / "key") as path:
        if left == "public":
            (tmp_path / "key").unlink()
        if left == "private":
            (tmp_path / "key.pub").unlink()
        identities = Identities(named=[tmp_path / name], agent=Agent(str(path)))
        found = [identity async for identity in identities]
        assert [type(identity) for identity in found] == [AgentIdentity]
        await assert_signs(tmp_path, found[0], key)


async def test_an_unusable_named_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="nothing: no such file"):
        await tried(Identities(named=[tmp_path / "nothing"]))
    key = openssh.make_key(tmp_path / "key")
    with pytest.raises(IdentityError, match=rf"agent does not hold the key {key.fingerprint}".replace("+", r"\+")):
        await tried(Identities(named=[tmp_path / "key.pub"]))
    (tmp_path / "key.pub").write_text("nonsense")
    with pytest.raises(IdentityError, match=r"key\.pub is not a public key file"):
        await tried(Identities(named=[tmp_path / "key"]))


async def test_the_file_of_a_security_key_is_an_error_that_names_ssh_add(tmp_path: Path) -> None:
    path = tmp_path / "key"
    openssh.make_key(path, "ecdsa", bits=256, file_format="PKCS8")
    (tmp_path / "key.pub").write_text(format_public_key_line(SoftwareSecurityKey.ecdsa().public_key))
    with pytest.raises(IdentityError, match=f"needs its security key; load it into the agent with: ssh-add {path}"):
        await tried(Identities(named=[path]))


async def test_the_reasons_why_keys_could_not_be_tried_are_recorded(tmp_path: Path) -> None:
    files = default(tmp_path)
    openssh.make_key(tmp_path / ".ssh" / "id_ed25519")
    (tmp_path / ".ssh" / "id_ed25519").chmod(0o644)
    ecdsa = openssh.make_key(tmp_path / ".ssh" / "id_ecdsa", "ecdsa", bits=256)
    identities = Identities(agent=Agent(str(tmp_path / "no-agent")), default=files)
    assert await tried(identities) == [("KeyFile", ecdsa)]
    assert [type(problem) for problem in identities.problems] == [AgentError, IdentityError]
    assert "cannot reach" in str(identities.problems[0])
    assert "chmod 600" in str(identities.problems[1])


async def test_an_identity_describes_where_its_key_is(tmp_path: Path) -> None:
    key = openssh.make_key(tmp_path / "key", comment="me@home")
    with openssh.running_agent(tmp_path, tmp_path / "key") as path:
        (identity,) = [i async for i in Identities(agent=Agent(str(path)))]
    assert identity.description == f"me@home in the ssh-agent ({key.fingerprint})"
    (identity,) = [i async for i in Identities(named=[tmp_path / "key"])]
    assert identity.description == f"{tmp_path / 'key'} ({key.fingerprint})"


async def test_for_a_reconnect_the_accepted_identity_comes_first_and_the_user_is_not_asked(tmp_path: Path) -> None:
    async def ask(prompt: str) -> str | None:
        raise AssertionError(prompt)

    files = default(tmp_path)
    first = openssh.make_key(tmp_path / ".ssh" / "id_ed25519")
    second = openssh.make_key(tmp_path / ".ssh" / "id_ecdsa", "ecdsa", bits=256)
    openssh.make_key(tmp_path / ".ssh" / "id_rsa", "rsa", bits=2048, file_format="PEM", passphrase="secret")
    (tmp_path / ".ssh" / "id_rsa.pub").unlink()
    identities = Identities(default=files[:-1], ask=ask)
    *_, accepted = [identity async for identity in identities]
    again = Identities(default=files, ask=ask).for_reconnect(accepted)
    assert await tried(again) == [("KeyFile", second), ("KeyFile", first)]
    assert ["nobody to ask" in str(problem) for problem in again.problems] == [True]


LOGIN_WITH_AGENT = """
import asyncio, pathlib, sys
from farhand_client.trust import certificate, known_hosts
from farhand_client.trust.agent import Agent
from farhand_client.trust.identities import Identities, default_key_files

async def main():
    agent = Agent(sys.argv[1])
    home = pathlib.Path(sys.argv[2])
    async for identity in Identities(agent=agent, default=default_key_files(home, home)):
        await identity.sign(b"transcript")

asyncio.run(main())
print([name for name in ("cryptography", "pydantic", "asyncssh") if name in sys.modules])
"""


def test_signing_with_the_agent_does_not_import_cryptography(tmp_path: Path) -> None:
    openssh.make_key(tmp_path / "id_ed25519")
    with openssh.running_agent(tmp_path, tmp_path / "id_ed25519") as path:
        done = subprocess.run(
            [sys.executable, "-c", LOGIN_WITH_AGENT, path, tmp_path], capture_output=True, text=True, check=False
        )
    assert (done.stdout, done.stderr) == ("[]\n", "")
