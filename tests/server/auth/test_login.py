import asyncio
import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import NoReturn

import pytest

from farhand_protocol.login import LOGIN_NAMESPACE, login_transcript
from farhand_protocol.sshformat import format_public_key_line
from farhand_server.auth import accounts
from farhand_server.auth.accounts import Account, Principal, peer_principal
from farhand_server.auth.authorized_keys import IPAddress
from farhand_server.auth.login import Authenticator, LoginProof, LoginRefusal, RefusalCause
from farhand_server.auth.webauthn import PasskeySite
from farhand_server.worker.keyfile import KeyFileUnavailable
from tests.support import openssh
from tests.support.openssh import SoftwarePasskey, SoftwareSecurityKey

SPKI_SHA256 = b"\x0a" * 32
ADDRESS = ip_address("192.0.2.7")
NOW = 1_900_000_000.0  # 2030-03-17T17:46:40Z
KEY = SoftwareSecurityKey.ed25519()
LINE = format_public_key_line(KEY.public_key)

Sign = Callable[[bytes], bytes]


SITE = PasskeySite("https://farhand.example.net", "farhand.example.net")


def proof(
    *,
    user: str = "alice",
    public_key: bytes = KEY.public_key.blob,
    sign: Sign = lambda transcript: KEY.sign(transcript, LOGIN_NAMESPACE),
    spki_sha256: bytes = SPKI_SHA256,
    web: bool = False,
) -> LoginProof:
    parts = {
        "user": user,
        "server_name": "host.example.net",
        "public_key": public_key,
        "server_nonce": b"\x01" * 32,
        "client_nonce": b"\x02" * 32,
        "hello_sha256": b"\x03" * 32,
    }
    transcript = login_transcript(spki_sha256=spki_sha256, **parts)  # type: ignore[arg-type]  # a table of keywords
    return LoginProof(signature=sign(transcript), web=web, **parts)  # type: ignore[arg-type]  # a table of keywords


def at_web_process(public_key: bytes, sign: Sign) -> LoginProof:
    """Return a proof as a browser gives it: in place of the TLS key it has the origin."""
    origin = hashlib.sha256(SITE.origin.encode()).digest()
    return proof(public_key=public_key, sign=sign, spki_sha256=origin, web=True)


def authenticate(
    authenticator: Authenticator, proof: LoginProof, *, address: IPAddress | None = ADDRESS, now: float = NOW
) -> Principal | LoginRefusal:
    """Return the decision on a proof, with each step done at once."""

    async def offload(step: Callable[[], object]) -> object:
        return step()

    return asyncio.run(authenticator.authenticate(proof, address=address, now=now, offload=offload))


@dataclasses.dataclass
class Service:
    """One account, alice, with one key file, and its authenticator."""

    file: Path
    authenticator: Authenticator
    decoy: Account

    def authorize(self, *lines: str) -> None:
        self.file.write_text("".join(f"{line}\n" for line in lines))
        self.file.chmod(0o600)

    def login(self, proof: LoginProof, *, on_unix_socket: bool = False, now: float = NOW) -> Principal | LoginRefusal:
        return authenticate(self.authenticator, proof, address=None if on_unix_socket else ADDRESS, now=now)

    def refused(self, proof: LoginProof, *, on_unix_socket: bool = False, now: float = NOW) -> LoginRefusal:
        result = self.login(proof, on_unix_socket=on_unix_socket, now=now)
        assert isinstance(result, LoginRefusal)
        return result


@pytest.fixture
def service(tmp_path: Path) -> Service:
    tmp_path.chmod(0o700)
    file = tmp_path / "authorized_keys"
    alice = Account("alice", os.getuid(), tmp_path, (tmp_path / "nothing_here", file))
    lookup = accounts.only_account(alice)
    return Service(file, Authenticator(spki_sha256=SPKI_SHA256, accounts=lookup, decoy=alice, site=SITE), alice)


@pytest.mark.needs("ssh-keygen")
@pytest.mark.parametrize(("kind", "bits"), [("ed25519", None), ("ecdsa", 256), ("rsa", 2048)])
def test_an_authorized_key_of_ssh_keygen_logs_in(service: Service, tmp_path: Path, kind: str, bits: int | None) -> None:
    key = openssh.make_key(tmp_path / "key", kind, bits=bits)
    service.authorize((tmp_path / "key.pub").read_text().strip())
    given = proof(public_key=key.blob, sign=lambda data: openssh.sign(tmp_path / "key", data, LOGIN_NAMESPACE))
    assert service.login(given) == Principal("alice", os.getuid(), "key", key.fingerprint)


@pytest.mark.parametrize("key", [SoftwareSecurityKey.ed25519(), SoftwareSecurityKey.ecdsa()])
def test_an_authorized_security_key_logs_in(service: Service, key: SoftwareSecurityKey) -> None:
    service.authorize(format_public_key_line(key.public_key))
    given = proof(public_key=key.public_key.blob, sign=lambda data: key.sign(data, LOGIN_NAMESPACE))
    assert isinstance(service.login(given), Principal)


def test_an_authorized_passkey_logs_in_and_the_principal_says_so(service: Service) -> None:
    passkey = SoftwarePasskey.generate()
    service.authorize(format_public_key_line(passkey.public_key))
    principal = service.login(at_web_process(passkey.public_key.blob, lambda data: passkey.sign(data, LOGIN_NAMESPACE)))
    assert isinstance(principal, Principal)
    assert (principal.how, principal.fingerprint) == ("passkey", passkey.public_key.fingerprint)


def test_a_passkey_logs_in_only_through_the_web_process(service: Service) -> None:
    passkey = SoftwarePasskey.generate()
    service.authorize(format_public_key_line(passkey.public_key))
    blob, sign = passkey.public_key.blob, lambda data: passkey.sign(data, LOGIN_NAMESPACE)
    given = at_web_process(blob, sign)
    assert service.refused(dataclasses.replace(given, web=False)).cause is RefusalCause.BAD_SIGNATURE
    assert service.refused(proof(public_key=blob, sign=sign)).detail.startswith("passkeys log in only through the web")


def test_a_proof_for_the_services_key_is_worth_nothing_at_the_web_process(service: Service) -> None:
    service.authorize(LINE)
    assert service.refused(dataclasses.replace(proof(), web=True)).cause is RefusalCause.BAD_SIGNATURE
    without = dataclasses.replace(
        service, authenticator=Authenticator(spki_sha256=SPKI_SHA256, accounts=lambda user: None, decoy=service.decoy)
    )
    assert "no origin" in without.refused(dataclasses.replace(proof(), web=True)).detail


@pytest.mark.parametrize("passkey", [True, False])
@pytest.mark.parametrize(
    ("options", "flags", "cause"),
    [
        ("", 0x01, None),
        ("", 0x04, RefusalCause.NOT_TOUCHED),
        ("no-touch-required ", 0x00, None),
        ("verify-required ", 0x01, RefusalCause.NOT_VERIFIED),
        ("verify-required ", 0x05, None),
        ("no-touch-required,verify-required ", 0x00, RefusalCause.NOT_VERIFIED),
        ("no-touch-required,touch-required,verify-required,no-verify-required ", 0x00, RefusalCause.NOT_TOUCHED),
    ],
)
def test_a_line_says_whether_its_security_key_must_be_touched_and_verify_its_user(
    service: Service, passkey: bool, options: str, flags: int, cause: RefusalCause | None
) -> None:
    key = SoftwarePasskey.generate() if passkey else SoftwareSecurityKey.ecdsa()
    service.authorize(options + format_public_key_line(key.public_key))
    make = at_web_process if passkey else proof
    result = service.login(
        make(public_key=key.public_key.blob, sign=lambda data: key.sign(data, LOGIN_NAMESPACE, flags=flags))
    )
    assert (result.cause if isinstance(result, LoginRefusal) else None) == cause


@pytest.mark.needs("ssh-keygen")
def test_what_only_security_keys_can_show_is_not_asked_of_other_keys(service: Service, tmp_path: Path) -> None:
    key = openssh.make_key(tmp_path / "key")
    service.authorize("verify-required " + (tmp_path / "key.pub").read_text().strip())
    given = proof(public_key=key.blob, sign=lambda data: openssh.sign(tmp_path / "key", data, LOGIN_NAMESPACE))
    assert isinstance(service.login(given), Principal)


def test_the_principal_has_the_restrictions_of_its_line(service: Service) -> None:
    service.authorize(f'restrict,command="uptime",environment="A=1" {LINE}')
    principal = service.login(proof())
    assert isinstance(principal, Principal)
    assert principal.options.restricted
    assert principal.options.no_pty
    assert principal.options.command == b"uptime"
    assert principal.options.environment == ((b"A", b"1"),)


@pytest.mark.parametrize(
    "change",
    [
        {"server_nonce": bytes(32)},
        {"client_nonce": bytes(32)},
        {"hello_sha256": bytes(32)},
        {"server_name": "another.example.net"},
        {"user": "bob"},
    ],
)
def test_a_proof_made_for_another_login_is_refused(service: Service, change: dict[str, str]) -> None:
    service.authorize(LINE)
    refusal = service.refused(replace(proof(), **change))  # type: ignore[arg-type]  # a table of keywords
    assert refusal.cause == RefusalCause.BAD_SIGNATURE


def test_a_proof_made_for_another_tls_key_is_refused(service: Service) -> None:
    service.authorize(LINE)
    assert service.refused(proof(spki_sha256=b"\x0b" * 32)).cause == RefusalCause.BAD_SIGNATURE


def test_a_proof_in_another_namespace_is_refused(service: Service) -> None:
    service.authorize(LINE)
    assert service.refused(proof(sign=lambda data: KEY.sign(data, "file"))).cause == RefusalCause.BAD_SIGNATURE


def test_a_malformed_key_is_refused(service: Service) -> None:
    refusal = service.refused(proof(public_key=b"nonsense"))
    assert (refusal.cause, refusal.fingerprint) == (RefusalCause.BAD_KEY, None)


def test_an_unauthorized_key_is_refused(service: Service) -> None:
    service.authorize(format_public_key_line(SoftwareSecurityKey.ed25519().public_key))
    refusal = service.refused(proof())
    assert refusal.cause == RefusalCause.KEY_NOT_AUTHORIZED
    assert refusal.fingerprint == KEY.public_key.fingerprint


def test_an_unknown_user_is_refused_even_if_the_key_is_authorized_for_another(service: Service) -> None:
    service.authorize(LINE)
    assert service.refused(proof(user="mallory")).cause == RefusalCause.UNKNOWN_USER


class WatchedFiles(tuple[Path, ...]):
    """Key files that count how often they are iterated over."""

    looked_through = 0

    def __iter__(self) -> Iterator[Path]:
        self.looked_through += 1
        return super().__iter__()


def test_for_an_unknown_user_as_many_files_are_read_as_for_a_known_one(service: Service) -> None:
    files = WatchedFiles([service.file])
    account = Account("alice", os.getuid(), service.file.parent, files)
    authenticator = Authenticator(spki_sha256=SPKI_SHA256, accounts=accounts.only_account(account), decoy=account)
    for looked_through, user in enumerate(("alice", "mallory"), 1):
        authenticate(authenticator, proof(user=user))
        assert files.looked_through == looked_through


@pytest.mark.parametrize(("now", "in_time"), [(NOW, True), (NOW + 1, False), (NOW - 1, True)])
def test_a_key_is_valid_until_its_expiry_time(service: Service, now: float, in_time: bool) -> None:
    service.authorize(f'expiry-time="20300317174640Z" {LINE}')
    result = service.login(proof(), now=now)
    if in_time:
        assert isinstance(result, Principal)
    else:
        assert isinstance(result, LoginRefusal)
        assert result.cause == RefusalCause.EXPIRED


def test_a_key_is_valid_only_from_its_sources(service: Service) -> None:
    service.authorize(f'from="192.0.2.0/24" {LINE}')
    assert isinstance(service.login(proof()), Principal)
    assert service.refused(proof(), on_unix_socket=True).cause == RefusalCause.SOURCE_NOT_ALLOWED
    service.authorize(f'from="192.0.2.0/24,!192.0.2.7" {LINE}')
    refusal = service.refused(proof())
    assert refusal.cause == RefusalCause.SOURCE_NOT_ALLOWED
    assert f"{service.file}:1: from= does not list 192.0.2.7" in refusal.detail


def test_the_first_line_that_allows_the_key_counts(service: Service) -> None:
    service.authorize(f'expiry-time="20200101Z" {LINE}', f"no-pty {LINE}", f'command="later" {LINE}')
    principal = service.login(proof())
    assert isinstance(principal, Principal)
    assert principal.options.no_pty
    assert principal.options.command is None


def test_a_line_with_an_unknown_option_is_refused_and_the_detail_says_why(service: Service) -> None:
    service.authorize(f"no-such-option {LINE}")
    refusal = service.refused(proof())
    assert refusal.cause == RefusalCause.KEY_NOT_AUTHORIZED
    assert f"{service.file}:1: option 'no-such-option' is not supported" in refusal.detail


def test_a_file_that_others_can_write_is_refused_and_the_detail_says_why(service: Service) -> None:
    service.authorize(LINE)
    service.file.chmod(0o666)
    refusal = service.refused(proof())
    assert refusal.cause == RefusalCause.KEY_NOT_AUTHORIZED
    assert "is writable by others" in refusal.detail


def test_a_service_without_descriptors_refuses_nobody_for_it(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise KeyFileUnavailable("FILE: cannot be read", "Too many open files")

    service.authorize(LINE)
    monkeypatch.setattr("farhand_server.worker.key_files.open_key_file", fail)
    for user in ("alice", "nobody-here"):
        refusal = service.refused(proof(user=user))
        assert (refusal.cause, refusal.detail, refusal.fault) == (
            RefusalCause.UNAVAILABLE, "FILE: cannot be read: Too many open files", "Too many open files"
        )  # fmt: skip


def test_accounts_that_cannot_be_read_are_the_services_fault(service: Service) -> None:
    def fail(_: str) -> NoReturn:
        raise OSError(24, "Too many open files")

    service.authenticator = Authenticator(spki_sha256=SPKI_SHA256, accounts=fail, decoy=accounts.own_account(()))
    refusal = service.refused(proof())
    assert (refusal.cause, refusal.fault) == (RefusalCause.UNAVAILABLE, "Too many open files")


def test_a_key_removed_from_the_file_cannot_log_in_again(service: Service) -> None:
    service.authorize(LINE)
    assert isinstance(service.login(proof()), Principal)
    service.authorize("# nobody")
    assert service.refused(proof()).cause == RefusalCause.KEY_NOT_AUTHORIZED


def test_the_processs_own_account_accepts_logins() -> None:
    account = accounts.own_account((Path("/keys"),))
    assert account.uid == os.getuid()
    assert accounts.only_account(account)(account.user) == account
    assert accounts.only_account(account)("another") is None


def test_the_kernel_identifies_a_peer() -> None:
    account = accounts.own_account(())
    assert peer_principal(os.getuid()) == Principal(account.user, os.getuid(), "peer")
    assert peer_principal(4_000_000_000).user == "4000000000"
