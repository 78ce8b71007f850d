"""Login by key: turns a proof into a principal or a refusal.

To the peer, a refusal looks the same whatever its cause, including the time it takes: for a user that does not exist,
the signature is verified and the same kind of file is read as for an existing user.

Nothing of it runs in the caller's thread: cryptography, the account database and files may all take their time.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from farhand_protocol import login, sshformat
from farhand_protocol.sshformat import PublicKey, SSHFormatError
from farhand_server.auth.accounts import Account, AccountLookup, LoginMethod, Principal
from farhand_server.auth.authorized_keys import (
    MAX_KEY_FILE,
    AuthorizedKey,
    AuthorizedKeysError,
    IPAddress,
    address_allowed,
)
from farhand_server.auth.key_cache import KeyCache, KeyIndex
from farhand_server.auth.verify import SignatureProof, VerificationError, verify_signature
from farhand_server.auth.webauthn import PasskeySite
from farhand_server.worker.key_files import AcceptedKeyFile, KeyFiles
from farhand_server.worker.keyfile import KeyFileError, KeyFileUnavailable


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
    web: bool = False
    """Whether it came through the web door, behind which clients cannot see the service's TLS key."""


class RefusalCause(StrEnum):
    """Why a login was refused; for the log, never for the peer."""

    BAD_KEY = "bad_key"
    BAD_SIGNATURE = "bad_signature"
    UNKNOWN_USER = "unknown_user"
    ACCOUNT_CLOSED = "account_closed"
    KEY_NOT_AUTHORIZED = "key_not_authorized"
    EXPIRED = "expired"
    SOURCE_NOT_ALLOWED = "source_not_allowed"
    NOT_TOUCHED = "not_touched"
    """Nobody has touched the security key, and its line does not say that this is not required."""
    NOT_VERIFIED = "not_verified"
    """The security key has not checked who touched it, and its line requires that."""
    UNAVAILABLE = "unavailable"
    """The service could not look at the account or its files: this says nothing about the user or the key."""


@dataclass(frozen=True, slots=True)
class LoginRefusal:
    """A refused login. `detail` is one sentence without a full stop; `fingerprint` belongs to the key that was
    tried."""

    cause: RefusalCause
    detail: str
    fingerprint: str | None = None
    fault: str | None = None
    """The kernel's reason why the service could not decide, which is the only cause that the peer is told."""


_Result = TypeVar("_Result")

Offload = Callable[[Callable[[], _Result]], Awaitable[_Result]]
"""Runs a function elsewhere than in the caller's thread."""


@dataclass(frozen=True, slots=True)
class _CheckedProof:
    """A key that has signed, and what its signature shows."""

    key: PublicKey
    shown: SignatureProof


@dataclass(slots=True)
class _KeySearch:
    """The result of searching an account's files for one key: the lines with the key, whether the user could have
    written them, and problems to report."""

    lines: list[tuple[Path, AuthorizedKey, bool]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    fault: KeyFileUnavailable | None = None
    """Why a file could not be searched, if that is the service's fault."""


class Authenticator:
    """Decides logins to one service.

    `spki_sha256` is the SHA-256 of the edge's SubjectPublicKeyInfo, 32 bytes. `accounts` finds the accounts that
    clients can log in to. `decoy` is the account whose files are read for an unknown user. `cache` keeps what was
    parsed. `site` is where passkeys log in, through the web door; None if there is no such site.
    """

    def __init__(
        self,
        *,
        spki_sha256: bytes,
        accounts: AccountLookup,
        decoy: Account,
        cache: KeyCache | None = None,
        site: PasskeySite | None = None,
    ) -> None:
        self._site = site
        self._spki_sha256 = spki_sha256
        self._accounts = accounts
        self._decoy = decoy
        self._cache = KeyCache() if cache is None else cache
        self._files = KeyFiles()

    async def authenticate(
        self, proof: LoginProof, *, address: IPAddress | None, now: float, offload: Offload[object]
    ) -> Principal | LoginRefusal:
        """Decide on one proof, from the peer at `address` (None on a Unix socket), at `now` (seconds since 1970).

        Looks at the account's files each time, so that a removed key cannot log in again. A peer cannot cause an
        exception; ValueError is raised if one of our own nonces or digests is not 32 bytes long. `offload` is called
        for each step that takes time.
        """
        checked = await offload(lambda: self._check_proof(proof))
        if isinstance(checked, LoginRefusal):
            return checked
        assert isinstance(checked, _CheckedProof)
        key = checked.key
        try:
            account = await offload(lambda: self._accounts(proof.user))
        except OSError as error:
            why = error.strerror or str(error)
            return LoginRefusal(RefusalCause.UNAVAILABLE, f"the accounts cannot be read: {why}", key.fingerprint, why)
        assert account is None or isinstance(account, Account)
        search = _KeySearch()
        for path in (account or self._decoy).key_files:
            await self._search(account or self._decoy, path, key, search, offload)
        if search.fault is not None and not search.lines:
            return LoginRefusal(RefusalCause.UNAVAILABLE, str(search.fault), key.fingerprint, search.fault.why)
        if account is None:
            return LoginRefusal(RefusalCause.UNKNOWN_USER, f"there is no account {proof.user!r}", key.fingerprint)
        if account.closed is not None:
            detail = f"nobody may log in to the account {account.user}: {account.closed}"
            return LoginRefusal(RefusalCause.ACCOUNT_CLOSED, detail, key.fingerprint)
        return _decide(account, checked, search, address, now)

    def _check_proof(self, proof: LoginProof) -> _CheckedProof | LoginRefusal:
        try:
            key = sshformat.parse_public_key(proof.public_key)
        except SSHFormatError as error:
            return LoginRefusal(RefusalCause.BAD_KEY, str(error))
        site = self._site if proof.web else None
        if proof.web and site is None:
            return LoginRefusal(RefusalCause.BAD_KEY, "the web door has no origin (web.origin)", key.fingerprint)
        try:
            transcript = login.login_transcript(
                spki_sha256=self._spki_sha256 if site is None else hashlib.sha256(site.origin.encode()).digest(),
                server_nonce=proof.server_nonce,
                client_nonce=proof.client_nonce,
                server_name=proof.server_name,
                user=proof.user,
                hello_sha256=proof.hello_sha256,
                public_key=proof.public_key,
            )
            shown = verify_signature(proof.signature, transcript, key=key, namespace=login.LOGIN_NAMESPACE, site=site)
        except VerificationError as error:
            return LoginRefusal(RefusalCause.BAD_SIGNATURE, str(error), key.fingerprint)
        return _CheckedProof(key, shown)

    async def _search(
        self, account: Account, path: Path, key: PublicKey, search: _KeySearch, offload: Offload[object]
    ) -> None:
        """Add what one of an account's files says about a key."""
        try:
            opened = await self._open(account, path)
            if opened is None:
                search.problems.append(f"{path}: no such file")
                return
            reader, contents = account.reader_of(path), opened.contents
            found = self._cache.get(reader, contents.identity)
            if found is None and contents.data is None:
                raise KeyFileUnavailable(f"{path}: cannot be read", "it was forgotten while it was checked; try again")
            if found is None:
                parsed = await offload(lambda: self._cache.parse(reader, contents, time.time_ns()))
                assert isinstance(parsed, KeyIndex)
                found = parsed
        except KeyFileUnavailable as error:
            search.fault = search.fault or error
        except KeyFileError as error:
            search.problems.append(str(error))
        except AuthorizedKeysError as error:
            search.problems.append(f"{path}: {error}")
        else:
            search.problems += [f"{path}:{line.line}: {line.reason}" for line in found.refused]
            search.lines += [(path, line, opened.by_user) for line in found.lines_with(key)]

    async def _open(self, account: Account, path: Path) -> AcceptedKeyFile | None:
        opened = await self._files.open(
            path,
            reader=(reader := account.reader_of(path)),
            uid=account.uid,
            home=account.home,
            max_size=MAX_KEY_FILE,
            known=self._cache.known_to(reader),
        )
        # The service's own account counts as the service.
        return replace(opened, by_user=False) if opened is not None and account.uid == os.geteuid() else opened


def _decide(
    account: Account, checked: _CheckedProof, search: _KeySearch, address: IPAddress | None, now: float
) -> Principal | LoginRefusal:
    """Return the principal of the first line that allows the key now, from this address and touched like this, as sshd
    does."""
    key, shown = checked.key, checked.shown
    refusal: LoginRefusal | None = None
    for path, line, by_user in search.lines:
        where, options = f"{path}:{line.line}", line.options
        if options.expires is not None and now > options.expires:
            refusal = LoginRefusal(RefusalCause.EXPIRED, f"{where}: the key's expiry-time has passed", key.fingerprint)
        elif options.sources is not None and not address_allowed(options.sources, address):
            detail = f"{where}: from= does not list {address or 'a Unix socket'}"
            refusal = LoginRefusal(RefusalCause.SOURCE_NOT_ALLOWED, detail, key.fingerprint)
        elif shown.security_key and not shown.touched and not options.no_touch:
            refusal = LoginRefusal(
                RefusalCause.NOT_TOUCHED, f"{where}: the security key was not touched", key.fingerprint
            )
        elif shown.security_key and not shown.verified and options.verify:
            detail = f"{where}: verify-required, but the security key has not checked a PIN or a finger"
            refusal = LoginRefusal(RefusalCause.NOT_VERIFIED, detail, key.fingerprint)
        else:
            how: LoginMethod = "passkey" if shown.passkey else "key"
            return Principal(account.user, account.uid, how, key.fingerprint, options, by_user)
    if refusal is None:
        # Ten problems are enough: a file of 2,000 bad lines must not fill the log at every attempt.
        problems = "; ".join(search.problems[:10])
        detail = "the key is in none of the account's files" + (f" ({problems})" if problems else "")
        refusal = LoginRefusal(RefusalCause.KEY_NOT_AUTHORIZED, detail, key.fingerprint)
    return refusal
