"""Identities in private key files: every format of ssh-keygen, passphrases, and unusable files."""

import shutil
import subprocess
from pathlib import Path

import pytest

from farhand_client.trust import IdentityError
from farhand_client.trust.keyfile import KeyFile, SealedKeyFile, read_key_file
from farhand_protocol.login import LOGIN_NAMESPACE
from farhand_protocol.sshformat import PublicKey, parse_public_key_line
from tests.support import openssh

TRANSCRIPT = b"a transcript"

pytestmark = pytest.mark.needs("ssh-keygen")


class Prompts:
    """A user who answers prompts from a list, and gives no answer after that."""

    def __init__(self, *answers: str) -> None:
        self.prompts: list[str] = []
        self._answers = list(answers)

    async def __call__(self, prompt: str) -> str | None:
        self.prompts.append(prompt)
        return self._answers.pop(0) if self._answers else None


async def opened(path: Path, ask: Prompts | None = None) -> KeyFile:
    file = read_key_file(path, ask=ask)
    assert file is not None
    return await file.open() if isinstance(file, SealedKeyFile) else file


async def assert_signs(directory: Path, file: KeyFile, key: PublicKey) -> None:
    assert file.public_key == key
    blob = await file.sign(TRANSCRIPT)
    assert openssh.verifies(directory, key, blob, TRANSCRIPT, LOGIN_NAMESPACE)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One unencrypted key file of each type; making an RSA key takes a second."""
    directory = tmp_path_factory.mktemp("keys")
    kinds: list[tuple[str, int | None]] = [("ed25519", None), ("ecdsa", 256), ("rsa", 2048)]
    for kind, bits in kinds:
        openssh.make_key(directory / kind, kind, bits=bits)
    return {kind: directory / kind for kind, _ in kinds}


@pytest.mark.parametrize("file_format", [None, "PEM", "PKCS8"])
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
@pytest.mark.parametrize("passphrase", ["", "correct horse"])
async def test_a_key_in_every_format_of_ssh_keygen_signs(
    tmp_path: Path, originals: dict[str, Path], kind: str, file_format: str | None, passphrase: str
) -> None:
    path, public = tmp_path / "key", tmp_path / "key.pub"
    shutil.copy(originals[kind], path)
    shutil.copy(f"{originals[kind]}.pub", public)
    change: list[str | Path] = ["ssh-keygen", "-q", "-p", "-P", "", "-N", passphrase, "-a", "1", "-f", path]
    subprocess.run([*change, *(["-m", file_format] if file_format else [])], check=True, stdout=subprocess.DEVNULL)
    key = parse_public_key_line(public.read_text())[0]
    user = Prompts(passphrase)
    file = await opened(path, user)
    assert user.prompts == []
    for _ in range(2):
        await assert_signs(tmp_path, file, key)
    assert user.prompts == ([f"Passphrase for {path}: "] if passphrase else [])


@pytest.mark.parametrize("file_format", [None, "PEM", "PKCS8"])
async def test_a_key_without_a_pub_file_signs_and_asks_once(tmp_path: Path, file_format: str | None) -> None:
    path = tmp_path / "key"
    key = openssh.make_key(path, "ecdsa", bits=256, file_format=file_format, passphrase="secret")
    (tmp_path / "key.pub").unlink()
    user = Prompts("secret")
    await assert_signs(tmp_path, await opened(path, user), key)
    assert len(user.prompts) == 1


async def test_a_passphrase_may_be_wrong_twice(tmp_path: Path) -> None:
    key = openssh.make_key(tmp_path / "key", passphrase="secret")
    user = Prompts("a", "b", "secret")
    await assert_signs(tmp_path, await opened(tmp_path / "key", user), key)
    first, *others = user.prompts
    assert first == f"Passphrase for {tmp_path / 'key'}: "
    assert others == [f"This passphrase is wrong. {first}"] * 2
    with pytest.raises(IdentityError, match="the passphrase was wrong 3 times"):
        await (await opened(tmp_path / "key", Prompts("a", "b", "c", "secret"))).sign(TRANSCRIPT)


async def test_an_encrypted_key_and_nobody_to_ask_is_an_error_that_names_ssh_add(tmp_path: Path) -> None:
    path = tmp_path / "my key"
    openssh.make_key(path, passphrase="secret")
    cause = f"the key {path} is encrypted, and there is"
    todo = f"to ask for its passphrase; add it to the agent: ssh-add '{path}'"
    with pytest.raises(IdentityError, match=f"{cause} nobody {todo}"):
        await (await opened(path)).sign(TRANSCRIPT)
    with pytest.raises(IdentityError, match=f"{cause} no terminal {todo}"):
        await (await opened(path, Prompts())).sign(TRANSCRIPT)


async def test_an_empty_passphrase_gives_up_the_key(tmp_path: Path) -> None:
    openssh.make_key(tmp_path / "key", passphrase="secret")
    user = Prompts("", "secret")
    with pytest.raises(IdentityError, match="is encrypted, and no passphrase was given"):
        await (await opened(tmp_path / "key", user)).sign(TRANSCRIPT)
    assert len(user.prompts) == 1


async def test_a_passphrase_may_hold_bytes_that_are_not_text(tmp_path: Path) -> None:
    passphrase = b"pass\xffword".decode(errors="surrogateescape")
    key = openssh.make_key(tmp_path / "key", passphrase=passphrase)
    await assert_signs(tmp_path, await opened(tmp_path / "key", Prompts(passphrase)), key)


async def test_a_file_accessible_to_others_is_refused_with_the_command_to_fix_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    openssh.make_key(path)
    path.chmod(0o640)
    with pytest.raises(IdentityError, match=rf"accessible to others \(mode 0640\); run: chmod 600 {path}"):
        read_key_file(path)


async def test_a_missing_file_is_none(tmp_path: Path) -> None:
    assert read_key_file(tmp_path / "nothing") is None


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not a private key file"),
        (b"hello", "is not a private key file"),
        (b"PuTTY-User-Key-File-3: ssh-ed25519\n", "is a key of PuTTY; convert it with: puttygen"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n", r"is an X\.509 certificate"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n", "is a public key; name the file of the private key"),
        (b"ssh-ed25519 AAAA me", "is a public key; name the file of the private key"),
        (b"x" * 65537, "is larger than 65536 bytes"),
        (
            b"-----BEGIN OPENSSH PRIVATE KEY-----\n%%%\n-----END OPENSSH PRIVATE KEY-----\n",
            "the data is cut off",
        ),
        (
            b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAAAAAAAAAAAAAAAAAAAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
            "not in the format openssh-key-v1",
        ),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "is damaged"),
    ],
)
async def test_a_file_that_is_not_a_key_is_refused_with_a_reason(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(IdentityError, match=sentence):
        await opened(path)


@pytest.mark.parametrize(("kind", "bits"), [("ecdsa", 384), ("rsa", 1024)])
async def test_a_key_that_no_service_accepts_is_refused(tmp_path: Path, kind: str, bits: int) -> None:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-b", str(bits), "-N", "", "-f", path], check=True)
    with pytest.raises(IdentityError, match=r"is not supported|2048 to 8192 are allowed"):
        read_key_file(path)
    subprocess.run(["ssh-keygen", "-q", "-p", "-m", "PKCS8", "-N", "", "-f", path], check=True)
    (tmp_path / "key.pub").unlink()
    with pytest.raises(IdentityError, match="contains a key that cannot be used"):
        await opened(path)


async def test_a_pub_file_of_another_key_is_an_error_before_anything_is_signed(tmp_path: Path) -> None:
    openssh.make_key(tmp_path / "key", "ecdsa", bits=256, file_format="PKCS8")
    openssh.make_key(tmp_path / "other", "ecdsa", bits=256)
    (tmp_path / "other.pub").replace(tmp_path / "key.pub")
    with pytest.raises(IdentityError, match=r"key does not match .*key\.pub: they are different keys"):
        await (await opened(tmp_path / "key")).sign(TRANSCRIPT)


async def test_a_damaged_private_part_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "key"
    openssh.make_key(path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].swapcase()
    path.write_bytes(b"".join(lines))
    with pytest.raises(IdentityError, match="is damaged"):
        await (await opened(path)).sign(TRANSCRIPT)
