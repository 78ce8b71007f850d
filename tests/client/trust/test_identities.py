import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from farhand_client.trust.agent import Agent
from farhand_client.trust.errors import AgentError, IdentityError
from farhand_client.trust.identities import AgentIdentity, Identities, Identity, usual_key_files
from farhand_client.trust.keyfile import KeyFile, open_key_file
from farhand_protocol.login import LOGIN_NAMESPACE
from farhand_protocol.sshformat import PublicKey, format_public_key_line
from tests.support import openssh
from tests.support.openssh import SoftwareSecurityKey

TRANSCRIPT = b"a transcript"

pytestmark = pytest.mark.needs("ssh-keygen", "ssh-agent", "ssh-add")


class Typist:
    """Somebody at a terminal who answers prompts from a list, and then no more."""

    def __init__(self, *answers: str) -> None:
        self.prompts: list[str] = []
        self._answers = list(answers)

    async def __call__(self, prompt: str) -> str | None:
        self.prompts.append(prompt)
        return self._answers.pop(0) if self._answers else None


async def opened(path: Path, ask: Typist | None = None) -> KeyFile:
    file = await open_key_file(path, ask=ask)
    assert file is not None
    return file


async def assert_signs(directory: Path, identity: Identity, key: PublicKey) -> None:
    assert identity.public_key == key
    blob = await identity.sign(TRANSCRIPT)
    assert openssh.verifies(directory, key, blob, TRANSCRIPT, LOGIN_NAMESPACE)


class TestKeyFile:
    @pytest.mark.parametrize("file_format", [None, "PEM", "PKCS8"])
    @pytest.mark.parametrize(("kind", "bits"), [("ed25519", None), ("ecdsa", 256), ("rsa", 2048)])
    @pytest.mark.parametrize("passphrase", ["", "correct horse"])
    async def test_signs_whatever_ssh_keygen_wrote(
        self, tmp_path: Path, kind: str, bits: int | None, file_format: str | None, passphrase: str
    ) -> None:
        path = tmp_path / "key"
        key = openssh.make_key(path, kind, bits=bits, file_format=file_format, passphrase=passphrase)
        typist = Typist(passphrase)
        file = await opened(path, typist)
        assert typist.prompts == []
        for _ in range(2):
            await assert_signs(tmp_path, file, key)
        assert typist.prompts == ([f"Passphrase for {path}: "] if passphrase else [])

    @pytest.mark.parametrize("file_format", [None, "PEM", "PKCS8"])
    async def test_needs_no_pub_file_and_asks_once(self, tmp_path: Path, file_format: str | None) -> None:
        path = tmp_path / "key"
        key = openssh.make_key(path, "ecdsa", bits=256, file_format=file_format, passphrase="secret")
        (tmp_path / "key.pub").unlink()
        typist = Typist("secret")
        await assert_signs(tmp_path, await opened(path, typist), key)
        assert len(typist.prompts) == 1

    async def test_a_wrong_passphrase_may_be_corrected_twice(self, tmp_path: Path) -> None:
        key = openssh.make_key(tmp_path / "key", passphrase="secret")
        await assert_signs(tmp_path, await opened(tmp_path / "key", Typist("a", "b", "secret")), key)
        with pytest.raises(IdentityError, match="the passphrase was wrong 3 times"):
            await (await opened(tmp_path / "key", Typist("a", "b", "c", "secret"))).sign(TRANSCRIPT)

    async def test_a_passphrase_nobody_can_give_is_said_with_a_way_out(self, tmp_path: Path) -> None:
        openssh.make_key(tmp_path / "key", passphrase="secret")
        with pytest.raises(IdentityError, match=f"load it with: ssh-add {tmp_path / 'key'}"):
            await (await opened(tmp_path / "key")).sign(TRANSCRIPT)
        with pytest.raises(IdentityError, match="needs a passphrase and none was given"):
            await (await opened(tmp_path / "key", Typist())).sign(TRANSCRIPT)

    async def test_a_file_open_to_others_is_refused_with_what_to_do(self, tmp_path: Path) -> None:
        path = tmp_path / "key"
        openssh.make_key(path)
        path.chmod(0o640)
        with pytest.raises(IdentityError, match=rf"open to others \(mode 0640\); run: chmod 600 {path}"):
            await open_key_file(path)

    async def test_a_missing_file_is_none(self, tmp_path: Path) -> None:
        assert await open_key_file(tmp_path / "nothing") is None

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            (b"", "is not a private key file"),
            (b"hello", "is not a private key file"),
            (b"x" * 65537, "is longer than 65536 bytes"),
            (
                b"-----BEGIN OPENSSH PRIVATE KEY-----\n%%%\n-----END OPENSSH PRIVATE KEY-----\n",
                "the data ends",
            ),
            (
                b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAAAAAAAAAAAAAAAAAAAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
                "not in the format openssh-key-v1",
            ),
            (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "is damaged"),
        ],
    )
    async def test_a_file_that_is_no_key_is_refused_with_a_sentence(
        self, tmp_path: Path, content: bytes, sentence: str
    ) -> None:
        path = tmp_path / "key"
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(IdentityError, match=sentence):
            await open_key_file(path)

    @pytest.mark.parametrize(("kind", "bits"), [("ecdsa", 384), ("rsa", 1024)])
    async def test_a_key_the_service_would_not_take_is_refused(self, tmp_path: Path, kind: str, bits: int) -> None:
        path = tmp_path / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-b", str(bits), "-N", "", "-f", path], check=True)
        with pytest.raises(IdentityError, match=r"is not supported|2048 to 8192 are allowed"):
            await open_key_file(path)
        subprocess.run(["ssh-keygen", "-q", "-p", "-m", "PKCS8", "-N", "", "-f", path], check=True)
        (tmp_path / "key.pub").unlink()
        with pytest.raises(IdentityError, match="holds a key that cannot be used"):
            await open_key_file(path)

    async def test_a_pub_file_of_another_key_is_noticed_before_anything_is_signed(self, tmp_path: Path) -> None:
        openssh.make_key(tmp_path / "key", "ecdsa", bits=256, file_format="PKCS8")
        openssh.make_key(tmp_path / "other", "ecdsa", bits=256)
        (tmp_path / "other.pub").replace(tmp_path / "key.pub")
        with pytest.raises(IdentityError, match=r"holds another key than .*key\.pub says"):
            await (await opened(tmp_path / "key")).sign(TRANSCRIPT)

    async def test_a_damaged_private_half_is_said(self, tmp_path: Path) -> None:
        path = tmp_path / "key"
        openssh.make_key(path)
        lines = path.read_bytes().splitlines(keepends=True)
        lines[3] = lines[3].swapcase()
        path.write_bytes(b"".join(lines))
        with pytest.raises(IdentityError, match="is damaged"):
            await (await opened(path)).sign(TRANSCRIPT)


class TestOrder:
    @staticmethod
    async def tried(identities: Identities) -> list[tuple[str, PublicKey]]:
        return [(type(identity).__name__, identity.public_key) async for identity in identities]

    @staticmethod
    def usual(directory: Path) -> Sequence[Path]:
        (directory / ".ssh").mkdir(exist_ok=True)
        (directory / "config").mkdir(exist_ok=True)
        return usual_key_files(directory, directory / "config")

    async def test_the_agents_keys_come_before_the_usual_files_and_none_twice(self, tmp_path: Path) -> None:
        usual = self.usual(tmp_path)
        in_both = openssh.make_key(tmp_path / ".ssh" / "id_ed25519")
        in_file = openssh.make_key(tmp_path / ".ssh" / "id_ecdsa", "ecdsa", bits=256)
        our_own = openssh.make_key(tmp_path / "config" / "id_ed25519")
        in_agent = openssh.make_key(tmp_path / "elsewhere")
        with openssh.running_agent(tmp_path, tmp_path / "elsewhere", tmp_path / ".ssh/id_ed25519") as path:
            identities = Identities(agent=Agent(str(path)), usual=usual)
            assert await self.tried(identities) == [
                ("AgentIdentity", in_agent),
                ("AgentIdentity", in_both),
                ("KeyFile", our_own),
                ("KeyFile", in_file),
            ]
        assert identities.problems == []

    async def test_with_named_files_nothing_else_is_tried(self, tmp_path: Path) -> None:
        usual = self.usual(tmp_path)
        openssh.make_key(tmp_path / ".ssh" / "id_ed25519")
        named = openssh.make_key(tmp_path / "named")
        openssh.make_key(tmp_path / "other")
        with openssh.running_agent(tmp_path, tmp_path / "other") as path:
            identities = Identities(named=[tmp_path / "named"], agent=Agent(str(path)), usual=usual)
            assert await self.tried(identities) == [("KeyFile", named)]

    @pytest.mark.parametrize(
        ("name", "left"),
        [("key", "both"), ("key", "public"), ("key", "private"), ("key.pub", "both"), ("key.pub", "public")],
    )
    async def test_a_named_key_that_the_agent_holds_is_used_there(self, tmp_path: Path, name: str, left: str) -> None:
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

    async def test_a_named_file_that_cannot_be_used_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(IdentityError, match="nothing: no such file"):
            await self.tried(Identities(named=[tmp_path / "nothing"]))
        key = openssh.make_key(tmp_path / "key")
        with pytest.raises(IdentityError, match=rf"agent does not hold the key {key.fingerprint}".replace("+", r"\+")):
            await self.tried(Identities(named=[tmp_path / "key.pub"]))
        (tmp_path / "key.pub").write_text("nonsense")
        with pytest.raises(IdentityError, match=r"key\.pub is not a public key file"):
            await self.tried(Identities(named=[tmp_path / "key"]))

    async def test_a_security_keys_file_is_sent_to_the_agent(self, tmp_path: Path) -> None:
        path = tmp_path / "key"
        openssh.make_key(path, "ecdsa", bits=256, file_format="PKCS8")
        (tmp_path / "key.pub").write_text(format_public_key_line(SoftwareSecurityKey.ecdsa().public_key))
        with pytest.raises(IdentityError, match=f"needs its security key; load it into the agent with: ssh-add {path}"):
            await self.tried(Identities(named=[path]))

    async def test_what_keeps_a_usual_key_from_being_tried_is_remembered(self, tmp_path: Path) -> None:
        usual = self.usual(tmp_path)
        openssh.make_key(tmp_path / ".ssh" / "id_ed25519")
        (tmp_path / ".ssh" / "id_ed25519").chmod(0o644)
        ecdsa = openssh.make_key(tmp_path / ".ssh" / "id_ecdsa", "ecdsa", bits=256)
        identities = Identities(agent=Agent(str(tmp_path / "no-agent")), usual=usual)
        assert await self.tried(identities) == [("KeyFile", ecdsa)]
        assert [type(problem) for problem in identities.problems] == [AgentError, IdentityError]
        assert "cannot be reached" in str(identities.problems[0])
        assert "chmod 600" in str(identities.problems[1])

    async def test_an_identity_says_where_its_key_is(self, tmp_path: Path) -> None:
        key = openssh.make_key(tmp_path / "key", comment="me@home")
        with openssh.running_agent(tmp_path, tmp_path / "key") as path:
            (identity,) = [i async for i in Identities(agent=Agent(str(path)))]
        assert identity.description == f"me@home in the ssh-agent ({key.fingerprint})"
        assert (await opened(tmp_path / "key")).description == f"{tmp_path / 'key'} ({key.fingerprint})"


IMPORT_NOTHING = """
import asyncio, pathlib, sys
from farhand_client.trust import certificate, known_hosts
from farhand_client.trust.agent import Agent
from farhand_client.trust.identities import Identities, usual_key_files

async def main():
    agent = Agent(sys.argv[1])
    home = pathlib.Path(sys.argv[2])
    async for identity in Identities(agent=agent, usual=usual_key_files(home, home)):
        await identity.sign(b"transcript")

asyncio.run(main())
print([name for name in ("cryptography", "pydantic", "asyncssh") if name in sys.modules])
"""


def test_logging_in_with_the_agent_imports_no_cryptography(tmp_path: Path) -> None:
    openssh.make_key(tmp_path / "id_ed25519")
    with openssh.running_agent(tmp_path, tmp_path / "id_ed25519") as path:
        done = subprocess.run(
            [sys.executable, "-c", IMPORT_NOTHING, path, tmp_path], capture_output=True, text=True, check=False
        )
    assert (done.stdout, done.stderr) == ("[]\n", "")
