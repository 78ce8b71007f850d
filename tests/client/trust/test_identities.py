"""The identities to log in with: which ones, in which order, and why some could not be tried."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from farhand_client.trust import AgentError, IdentityError
from farhand_client.trust.agent import Agent
from farhand_client.trust.agent_messages import LIST_TIMEOUT, AgentKey, UnusableAgentKey
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


class Defaults(NamedTuple):
    own: Sequence[Path]
    usual: Sequence[Path]


def default(directory: Path) -> Defaults:
    (directory / ".ssh").mkdir(exist_ok=True)
    (directory / "config").mkdir(exist_ok=True)
    return Defaults(default_key_files(directory / "config"), default_key_files(directory / ".ssh"))


async def test_the_likeliest_keys_come_first_and_none_twice(tmp_path: Path) -> None:
    own, usual = default(tmp_path)
    others = [openssh.make_key(tmp_path / name) for name in ("first", "second")]
    in_both = openssh.make_key(tmp_path / ".ssh" / "id_ecdsa", "ecdsa", bits=256)
    in_file = openssh.make_key(tmp_path / ".ssh" / "id_ed25519")
    made_for_farhand = openssh.make_key(tmp_path / "config" / "id_ecdsa", "ecdsa", bits=256)
    encrypted = openssh.make_key(tmp_path / "config" / "id_ed25519", passphrase="secret")
    with openssh.running_agent(tmp_path, *(tmp_path / name for name in ("first", "second", ".ssh/id_ecdsa"))) as path:
        (tmp_path / ".ssh" / "id_ecdsa").unlink()  # its .pub file tells that the agent's key is a usual one
        identities = Identities(agent=Agent(str(path)), own=own, usual=usual)
        assert await tried(identities) == [
            ("KeyFile", made_for_farhand),
            ("AgentIdentity", in_both),
            ("AgentIdentity", others[0]),
            ("AgentIdentity", others[1]),
            ("KeyFile", encrypted),
            ("KeyFile", in_file),
        ]
    assert identities.problems == []


async def test_of_the_other_keys_in_the_agent_security_keys_are_tried_last() -> None:
    security_key, plain = SoftwareSecurityKey.ed25519().public_key, SoftwareSecurityKey.ed25519().public_key
    plain = plain._replace(application=None)
    identities = Identities(agent=FakeAgent([AgentKey(security_key, "touch"), AgentKey(plain, "plain")]))
    assert await tried(identities) == [("AgentIdentity", plain), ("AgentIdentity", security_key)]


class FakeAgent(Agent):
    def __init__(self, keys: list[AgentKey], unusable: list[UnusableAgentKey] | None = None) -> None:
        super().__init__("fake")
        self.timeouts: list[float] = []
        self._keys = keys
        self._unusable = unusable or []

    async def keys(self, timeout: float = LIST_TIMEOUT) -> tuple[list[AgentKey], list[UnusableAgentKey]]:
        self.timeouts.append(timeout)
        return self._keys, self._unusable


@pytest.mark.parametrize(("left", "granted"), [(2.0, 1.0), (60.0, LIST_TIMEOUT)])
async def test_an_agent_that_hangs_leaves_half_of_the_time_to_the_key_files(left: float, granted: float) -> None:
    agent = FakeAgent([])
    assert [identity async for identity in Identities(agent=agent).each(lambda: left)] == []
    assert agent.timeouts == [granted]


async def test_the_agent_is_not_asked_for_its_keys_if_the_key_of_the_last_login_is_still_accepted(
    tmp_path: Path,
) -> None:
    openssh.make_key(tmp_path / "key")
    accepted = await anext(aiter(Identities(named=[tmp_path / "key"])))
    agent = FakeAgent([])
    again = Identities(agent=agent).for_reconnect(accepted)
    assert await anext(aiter(again)) is accepted
    assert agent.timeouts == []


async def test_keys_of_the_agent_that_cannot_be_used_are_problems() -> None:
    identities = Identities(agent=FakeAgent([], [UnusableAgentKey("", "of a wrong type")]))
    assert await tried(identities) == []
    assert [str(problem) for problem in identities.problems] == ["a key in the ssh-agent: of a wrong type"]


async def test_keys_that_were_not_tried_are_described(tmp_path: Path) -> None:
    own, usual = default(tmp_path)
    openssh.make_key(tmp_path / ".ssh" / "id_rsa", "rsa", bits=2048, file_format="PEM", passphrase="secret")
    (tmp_path / ".ssh" / "id_rsa.pub").unlink()
    keys = [AgentKey(SoftwareSecurityKey.ed25519().public_key, name) for name in "ab"]
    identities = Identities(agent=FakeAgent(keys), own=own, usual=usual)
    await anext(aiter(identities))
    assert identities.untried == [f"b in the ssh-agent ({keys[1].public_key.fingerprint})", str(usual[2])]


async def test_an_interrupted_login_goes_on_with_the_identity_it_had_reached() -> None:
    keys = [AgentKey(SoftwareSecurityKey.ed25519().public_key, name) for name in "abc"]
    identities = Identities(agent=FakeAgent(keys))
    attempts = aiter(identities)
    assert [(await anext(attempts)).public_key, (await anext(attempts)).public_key] == [
        keys[0].public_key,
        keys[1].public_key,
    ]
    identities.again()
    assert [key for _, key in await tried(identities)] == [keys[1].public_key, keys[2].public_key]


async def test_with_named_files_nothing_else_is_tried(tmp_path: Path) -> None:
    own, usual = default(tmp_path)
    openssh.make_key(tmp_path / ".ssh" / "id_ed25519")
    named = openssh.make_key(tmp_path / "named")
    openssh.make_key(tmp_path / "other")
    with openssh.running_agent(tmp_path, tmp_path / "other") as path:
        identities = Identities(named=[tmp_path / "named"] * 2, agent=Agent(str(path)), own=own, usual=usual)
        assert await tried(identities) == [("KeyFile", named)]
        assert identities.not_named == 1


@pytest.mark.parametrize(
    ("name", "left"),
    [("key", "both"), ("key", "public"), ("key", "private"), ("key.pub", "both"), ("key.pub", "public"), ("copy", "-")],
)
async def test_a_named_key_in_the_agent_is_used_through_the_agent(tmp_path: Path, name: str, left: str) -> None:
    key = openssh.make_key(tmp_path / "key")
    with openssh.running_agent(tmp_path, tmp_path / "key") as path:
        (tmp_path / "copy").write_bytes((tmp_path / "key.pub").read_bytes())  # a public key by its content alone
        if left == "public":
            (tmp_path / "key").unlink()
        if left == "private":
            (tmp_path / "key.pub").unlink()
        identities = Identities(named=[tmp_path / name], agent=Agent(str(path)))
        found = [identity async for identity in identities]
        assert [type(identity) for identity in found] == [AgentIdentity]
        await assert_signs(tmp_path, found[0], key)


async def test_a_named_file_that_cannot_be_used_is_a_problem_and_the_others_are_tried(tmp_path: Path) -> None:
    key = openssh.make_key(tmp_path / "good")
    openssh.make_key(tmp_path / "key")
    public = tmp_path / "key.pub"
    (tmp_path / "gone.pub").write_bytes(public.read_bytes())
    (tmp_path / "bad").touch(mode=0o600)
    (tmp_path / "bad.pub").write_text("nonsense")
    (tmp_path / "private.pub").write_bytes((tmp_path / "key").read_bytes())
    names = ["nothing", "key.pub", "gone", "bad", "private.pub", "", "good"]
    identities = Identities(named=[*(tmp_path / name for name in names), Path("/")])
    assert await tried(identities) == [("KeyFile", key)]
    expected = [
        f"{tmp_path}/nothing: no such file",
        f"{public} is a public key, and there is no ssh-agent (SSH_AUTH_SOCK is not set)",
        f"{tmp_path}/gone: no such file, and the ssh-agent does not hold the key of {tmp_path}/gone.pub",
        f"{tmp_path}/bad.pub is not a public key file",
        f"{tmp_path}/private.pub is a private key file, whose name must not end with .pub",
        f"{tmp_path} is not a regular file",
        "/ is not a regular file",
    ]
    assert [str(problem)[: len(text)] for problem, text in zip(identities.problems, expected, strict=True)] == expected
    identities = Identities(named=[public], agent=FakeAgent([]))
    assert await tried(identities) == []
    assert f"{public} is a public key, and the ssh-agent does not hold it" in str(identities.problems[0])


async def test_a_certificate_is_named_as_such(tmp_path: Path) -> None:
    openssh.make_key(tmp_path / "key")
    certify: list[str | Path] = [
        "ssh-keygen",
        "-q",
        "-s",
        tmp_path / "key",
        "-I",
        "me",
        "-n",
        "me",
        tmp_path / "key.pub",
    ]
    subprocess.run(certify, check=True)
    identities = Identities(named=[tmp_path / "key-cert.pub"])
    assert await tried(identities) == []
    assert "is an OpenSSH certificate, which Farhand does not support" in str(identities.problems[0])


async def test_the_file_of_a_security_key_is_a_problem_that_names_ssh_add(tmp_path: Path) -> None:
    path = tmp_path / "key"
    openssh.make_key(path, "ecdsa", bits=256, file_format="PKCS8")
    (tmp_path / "key.pub").write_text(format_public_key_line(SoftwareSecurityKey.ecdsa().public_key))
    identities = Identities(named=[path])
    assert await tried(identities) == []
    expected = f"{path} needs its security key; load it into the agent with: ssh-add {path}"
    assert [str(problem) for problem in identities.problems] == [expected]


async def test_the_reasons_why_keys_could_not_be_tried_are_recorded(tmp_path: Path) -> None:
    own, usual = default(tmp_path)
    openssh.make_key(tmp_path / ".ssh" / "id_ed25519")
    (tmp_path / ".ssh" / "id_ed25519").chmod(0o644)
    ecdsa = openssh.make_key(tmp_path / ".ssh" / "id_ecdsa", "ecdsa", bits=256)
    identities = Identities(agent=Agent(str(tmp_path / "no-agent")), own=own, usual=usual)
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

    own, usual = default(tmp_path)
    first = openssh.make_key(tmp_path / ".ssh" / "id_ed25519")
    second = openssh.make_key(tmp_path / ".ssh" / "id_ecdsa", "ecdsa", bits=256)
    openssh.make_key(tmp_path / ".ssh" / "id_rsa", "rsa", bits=2048, file_format="PEM", passphrase="secret")
    (tmp_path / ".ssh" / "id_rsa.pub").unlink()
    identities = Identities(usual=usual[:-1], ask=ask)
    *_, accepted = [identity async for identity in identities]
    again = Identities(own=own, usual=usual, ask=ask).for_reconnect(accepted)
    assert await tried(again) == [("KeyFile", second), ("KeyFile", first)]
    assert ["nobody to ask" in str(problem) for problem in again.problems] == [True]


async def test_each_login_of_a_reconnect_tries_all_keys_again_the_accepted_one_first(tmp_path: Path) -> None:
    own, usual = default(tmp_path)
    first = openssh.make_key(tmp_path / ".ssh" / "id_ed25519")
    second = openssh.make_key(tmp_path / ".ssh" / "id_ecdsa", "ecdsa", bits=256)
    identities = Identities(own=own, usual=usual).for_reconnect(None)
    assert await tried(identities.afresh()) == [("KeyFile", first), ("KeyFile", second)]
    *_, accepted = [identity async for identity in identities.afresh()]
    assert not identities.afresh().accepted_before
    identities.accepted(accepted)
    identities.accepted(None)
    for _ in range(2):
        assert await tried(identities.afresh()) == [("KeyFile", second), ("KeyFile", first)]
    assert identities.afresh().accepted_before


LOGIN_WITH_AGENT = """
import asyncio, pathlib, sys
from farhand_client.trust import certificate, known_hosts
from farhand_client.trust.agent import Agent
from farhand_client.trust.identities import Identities, default_key_files

async def main():
    agent = Agent(sys.argv[1])
    home = pathlib.Path(sys.argv[2])
    async for identity in Identities(agent=agent, usual=default_key_files(home)):
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
