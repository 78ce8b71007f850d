"""Login by key: one proof in, a principal or a refusal out.

A refusal looks the same to the peer whatever its cause, in time as well: a user nobody has heard of costs the
same signature and the same reading of a file as one who exists.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from farhand_protocol import login, sshformat
from farhand_protocol.sshformat import PublicKey, SSHFormatError
from farhand_server.auth.accounts import Account, AccountLookup
from farhand_server.auth.authorized_keys import (
    MAX_SIZE,
    AuthorizedKey,
    AuthorizedKeysError,
    RefusedLine,
    parse_authorized_keys,
)
from farhand_server.auth.keyfile import KeyFileError, read_key_file
from farhand_server.auth.principal import Principal
from farhand_server.auth.sources import Address, admits
from farhand_server.auth.verify import VerificationError, verify_signature

MAX_ATTEMPTS = 6
"""Logins a connection may try, sshd's MaxAuthTries (sshd_config(5)): a few keys of an agent, and no guessing."""


@dataclass(frozen=True, slots=True)
class LoginProof:
    """What a login is judged by. The nonces and the hello are this connection's, as the service saw them."""

    user: str
    server_name: str
    public_key: bytes
    signature: bytes
    server_nonce: bytes
    client_nonce: bytes
    hello_sha256: bytes


class Cause(StrEnum):
    """Why a login was refused; for the log, never for the peer."""

    BAD_KEY = "bad_key"
    BAD_SIGNATURE = "bad_signature"
    UNKNOWN_USER = "unknown_user"
    ACCOUNT_CLOSED = "account_closed"
    KEY_NOT_AUTHORIZED = "key_not_authorized"
    EXPIRED = "expired"
    SOURCE_NOT_ALLOWED = "source_not_allowed"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A login that did not do. `detail` is one sentence without a full stop; `fingerprint` is of the key tried."""

    cause: Cause
    detail: str
    fingerprint: str | None = None


@dataclass(slots=True)
class _Search:
    """What reading an account's files came to: the lines of one key, and what an administrator should hear."""

    found: list[tuple[Path, AuthorizedKey]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Authenticator:
    """Decides logins to one service.

    `spki_sha256` is SHA-256 of the edge's SubjectPublicKeyInfo, 32 bytes. `accounts` says who can be logged in
    to; `decoy` is the account whose files are read for a user it does not know.
    """

    def __init__(self, *, spki_sha256: bytes, accounts: AccountLookup, decoy: Account) -> None:
        self._spki_sha256 = spki_sha256
        self._accounts = accounts
        self._decoy = decoy

    def authenticate(self, proof: LoginProof, *, address: Address | None, now: float) -> Principal | Refusal:
        """Judge one proof, from the peer at `address` (None on a Unix socket), at `now` (seconds since the epoch).

        Reads the account's files each time, so that a key taken away is gone at the next login. Raises nothing
        for what a peer can cause; ValueError where a nonce or digest of our own is not 32 bytes.
        """
        try:
            key = sshformat.parse_public_key(proof.public_key)
        except SSHFormatError as error:
            return Refusal(Cause.BAD_KEY, str(error))
        try:
            transcript = login.login_transcript(
                spki_sha256=self._spki_sha256,
                server_nonce=proof.server_nonce,
                client_nonce=proof.client_nonce,
                server_name=proof.server_name,
                user=proof.user,
                hello_sha256=proof.hello_sha256,
                public_key=proof.public_key,
            )
            verify_signature(proof.signature, transcript, key=key, namespace=login.LOGIN_NAMESPACE)
        except VerificationError as error:
            return Refusal(Cause.BAD_SIGNATURE, str(error), key.fingerprint)
        account = self._accounts(proof.user)
        search = _search(account or self._decoy, key)
        if account is None:
            return Refusal(Cause.UNKNOWN_USER, f"no account {proof.user!r} to log in to", key.fingerprint)
        if account.closed is not None:
            detail = f"the account {account.user} cannot be logged in to: {account.closed}"
            return Refusal(Cause.ACCOUNT_CLOSED, detail, key.fingerprint)
        return _decide(account, key, search, address, now)


def _search(account: Account, key: PublicKey) -> _Search:
    search = _Search()
    for path in account.key_files:
        try:
            reader = account.reader_of(path)
            data = read_key_file(path, uid=account.uid, home=account.home, max_size=MAX_SIZE, reader=reader)
            if data is None:
                search.problems.append(f"{path}: no such file")
                continue
            parsed = parse_authorized_keys(data)
        except KeyFileError as error:
            search.problems.append(str(error))
        except AuthorizedKeysError as error:
            search.problems.append(f"{path}: {error}")
        else:
            search.problems += [_about(str(path), line) for line in parsed.refused]
            search.found += [(path, line) for line in parsed.keys if line.key.blob == key.blob]
    return search


def _about(path: str, line: RefusedLine) -> str:
    return f"{path}:{line.line}: {line.reason}"


def _decide(
    account: Account, key: PublicKey, search: _Search, address: Address | None, now: float
) -> Principal | Refusal:
    """The first line that holds the key and allows it now and from here admits it, as in sshd."""
    refusal: Refusal | None = None
    for path, line in search.found:
        where, options = f"{path}:{line.line}", line.options
        if options.expires is not None and now > options.expires:
            refusal = Refusal(Cause.EXPIRED, f"{where}: the key's expiry-time has passed", key.fingerprint)
        elif options.sources is not None and not admits(options.sources, address):
            detail = f"{where}: from= does not list {address or 'a Unix socket'}"
            refusal = Refusal(Cause.SOURCE_NOT_ALLOWED, detail, key.fingerprint)
        else:
            own = account.may_have_written(path)
            return Principal(account.user, account.uid, "key", key.fingerprint, options, own)
    if refusal is None:
        # Ten say enough, and a file of 2,000 bad lines must not fill the log at every attempt.
        problems = "; ".join(search.problems[:10])
        detail = "the key is in none of the account's files" + (f" ({problems})" if problems else "")
        refusal = Refusal(Cause.KEY_NOT_AUTHORIZED, detail, key.fingerprint)
    return refusal
