"""Login by key: turns a proof into a principal or a refusal.

To the peer, a refusal looks the same whatever its cause, including the time it takes: for a user that does not exist,
the signature is verified and the same kind of file is read as for an existing user.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from farhand_protocol import login, sshformat
from farhand_protocol.sshformat import PublicKey, SSHFormatError
from farhand_server.auth.accounts import Account, AccountLookup, Principal
from farhand_server.auth.authorized_keys import (
    MAX_KEY_FILE,
    AuthorizedKey,
    AuthorizedKeysError,
    IPAddress,
    RefusedLine,
    address_allowed,
    parse_authorized_keys,
)
from farhand_server.auth.keyfile import KeyFileError, read_key_file
from farhand_server.auth.verify import VerificationError, verify_signature


@dataclass(frozen=True, slots=True)
class LoginProof:
    """The data that a login decision is based on. The nonces and the hello's hash are this connection's, as seen by the
    service."""

    user: str
    server_name: str
    public_key: bytes
    signature: bytes
    server_nonce: bytes
    client_nonce: bytes
    hello_sha256: bytes


class RefusalCause(StrEnum):
    """Why a login was refused; for the log, never for the peer."""

    BAD_KEY = "bad_key"
    BAD_SIGNATURE = "bad_signature"
    UNKNOWN_USER = "unknown_user"
    ACCOUNT_CLOSED = "account_closed"
    KEY_NOT_AUTHORIZED = "key_not_authorized"
    EXPIRED = "expired"
    SOURCE_NOT_ALLOWED = "source_not_allowed"


@dataclass(frozen=True, slots=True)
class LoginRefusal:
    """A refused login. `detail` is one sentence without a full stop; `fingerprint` belongs to the key that was
    tried."""

    cause: RefusalCause
    detail: str
    fingerprint: str | None = None


@dataclass(slots=True)
class _KeySearch:
    """The result of searching an account's files for one key: the lines with the key, and problems to report."""

    lines: list[tuple[Path, AuthorizedKey]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Authenticator:
    """Decides logins to one service.

    `spki_sha256` is the SHA-256 of the edge's SubjectPublicKeyInfo, 32 bytes. `accounts` finds the accounts that
    clients can log in to. `decoy` is the account whose files are read for an unknown user.
    """

    def __init__(self, *, spki_sha256: bytes, accounts: AccountLookup, decoy: Account) -> None:
        self._spki_sha256 = spki_sha256
        self._accounts = accounts
        self._decoy = decoy

    def authenticate(self, proof: LoginProof, *, address: IPAddress | None, now: float) -> Principal | LoginRefusal:
        """Decide on one proof, from the peer at `address` (None on a Unix socket), at `now` (seconds since 1970).

        Reads the account's files each time, so that a removed key cannot log in again. A peer cannot cause an
        exception; ValueError is raised if one of our own nonces or digests is not 32 bytes long.
        """
        try:
            key = sshformat.parse_public_key(proof.public_key)
        except SSHFormatError as error:
            return LoginRefusal(RefusalCause.BAD_KEY, str(error))
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
            return LoginRefusal(RefusalCause.BAD_SIGNATURE, str(error), key.fingerprint)
        account = self._accounts(proof.user)
        search = _search(account or self._decoy, key)
        if account is None:
            return LoginRefusal(RefusalCause.UNKNOWN_USER, f"there is no account {proof.user!r}", key.fingerprint)
        if account.closed is not None:
            detail = f"nobody may log in to the account {account.user}: {account.closed}"
            return LoginRefusal(RefusalCause.ACCOUNT_CLOSED, detail, key.fingerprint)
        return _decide(account, key, search, address, now)


def _search(account: Account, key: PublicKey) -> _KeySearch:
    search = _KeySearch()
    for path in account.key_files:
        try:
            reader = account.reader_of(path)
            data = read_key_file(path, uid=account.uid, home=account.home, max_size=MAX_KEY_FILE, reader=reader)
            if data is None:
                search.problems.append(f"{path}: no such file")
                continue
            parsed = parse_authorized_keys(data)
        except KeyFileError as error:
            search.problems.append(str(error))
        except AuthorizedKeysError as error:
            search.problems.append(f"{path}: {error}")
        else:
            search.problems += [_problem(path, line) for line in parsed.refused]
            search.lines += [(path, line) for line in parsed.keys if line.key.blob == key.blob]
    return search


def _problem(path: Path, line: RefusedLine) -> str:
    return f"{path}:{line.line}: {line.reason}"


def _decide(
    account: Account, key: PublicKey, search: _KeySearch, address: IPAddress | None, now: float
) -> Principal | LoginRefusal:
    """Return the principal of the first line that allows the key now and from this address, as sshd does."""
    refusal: LoginRefusal | None = None
    for path, line in search.lines:
        where, options = f"{path}:{line.line}", line.options
        if options.expires is not None and now > options.expires:
            refusal = LoginRefusal(RefusalCause.EXPIRED, f"{where}: the key's expiry-time has passed", key.fingerprint)
        elif options.sources is not None and not address_allowed(options.sources, address):
            detail = f"{where}: from= does not list {address or 'a Unix socket'}"
            refusal = LoginRefusal(RefusalCause.SOURCE_NOT_ALLOWED, detail, key.fingerprint)
        else:
            own = account.may_have_written(path)
            return Principal(account.user, account.uid, "key", key.fingerprint, options, own)
    if refusal is None:
        # Ten problems are enough: a file of 2,000 bad lines must not fill the log at every attempt.
        problems = "; ".join(search.problems[:10])
        detail = "the key is in none of the account's files" + (f" ({problems})" if problems else "")
        refusal = LoginRefusal(RefusalCause.KEY_NOT_AUTHORIZED, detail, key.fingerprint)
    return refusal
