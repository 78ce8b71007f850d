"""The login phases of one connection: hello, welcome, login proofs and their answers, and the deadline for all of
these."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections.abc import Callable
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final, Protocol

from farhand_protocol import messages as m
from farhand_protocol.connection import Connection
from farhand_protocol.errors import ErrorCode
from farhand_protocol.features import FEATURES
from farhand_protocol.login import NONCE_SIZE

from .. import __version__
from ..admission.caller import Caller
from ..admission.shares import Shares, ShareUsedUp
from ..audit import AuditEntry
from ..auth.accounts import Principal
from ..config import ServiceConfig
from ..logs import Logger
from ..sources import source_of
from ..tickets import TicketKey

if TYPE_CHECKING:  # importing it loads the cryptography, which a service for local clients does not need
    from ..auth.login import Authenticator, LoginRefusal, Offload
    from ..auth.work import LoginWork

SERVER_SOFTWARE: Final = f"farhandd/{__version__}"

LoginReport = Callable[[bool], None]
"""Reports to the edge whether its client has logged in. Only the first call has an effect."""


def account_unavailable(error: OSError) -> str:
    """Return the sentence for a client whose account cannot be looked up now."""
    return f"the service cannot look up your account now: {error.strerror or error}; try again in a moment"


class LoginContext(Protocol):
    """What the login needs from the core."""

    @property
    def config(self) -> ServiceConfig:
        """The configuration in force."""

    @property
    def authenticator(self) -> Authenticator | None:
        """Verifies logins by key. None if the service has no host key, and therefore no edge."""

    @property
    def login_work(self) -> LoginWork:
        """Does what takes time in logins by key."""

    @property
    def ticket_key(self) -> TicketKey | None:
        """Makes the tickets that clients of an edge get. None if there is no edge."""

    @property
    def stopping(self) -> bool:
        """Whether the service has been told to stop, so that no client may log in any more."""

    @property
    def shares(self) -> Shares:
        """What each user may use."""

    def note(self, entry: AuditEntry) -> None:
        """Add an event to the audit log, to be written soon."""


def _report_nothing(logged_in: bool) -> None:
    """Do nothing: the edge is not waiting for a verdict, or has got it."""


class LoginSession(Protocol):
    """What the login needs from its session."""

    @property
    def connection(self) -> Connection:
        """The connection, which is in one of the phases before login."""

    @property
    def context(self) -> LoginContext:
        """What the session shares with the other sessions of the core."""

    @property
    def log(self) -> Logger:
        """A logger that adds the client's fields to each line."""

    def logged_in(self, caller: Caller) -> None:
        """Handle that the client has logged in; the `Accepted` message is sent next."""

    def end(self, code: ErrorCode, sentence: str) -> None:
        """Send an error and close the connection."""

    def flush_soon(self) -> None:
        """At the end of this turn of the loop, send what is queued."""


class LoginExchange:
    """Answers the messages before login. The client is `local`, whom the kernel has named, or must log in.

    Call `start` once the connection is up and `stop` once it is gone. For an edge's client, `address` is the address to
    judge by, `peer` is the address as it is logged, `arrival` the one that the client has connected to, and `report`
    tells the edge whether the login succeeded. `web` says that it is a browser that came through the web door.
    """

    def __init__(
        self,
        session: LoginSession,
        *,
        local: Caller | None = None,
        address: IPv4Address | IPv6Address | None = None,
        peer: str | None = None,
        arrival: str | None = None,
        report: LoginReport | None = None,
        web: bool = False,
    ) -> None:
        self._session = session
        self._local = local
        self._address = address
        self._source = None if address is None else source_of(address)
        self._peer = peer
        self._arrival = arrival
        self._report = report or _report_nothing
        self._remote = report is not None
        self._web = web
        self.nonce: Final = os.urandom(NONCE_SIZE)
        self._hello: m.Hello | None = None
        self._attempts_left = session.context.config.login.attempts
        self._deadline: asyncio.TimerHandle | None = None
        self._verifying: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the time limit for the login."""
        config = self._session.context.config
        seconds = config.web.login_deadline if self._web else config.login.deadline
        self._deadline = asyncio.get_running_loop().call_later(seconds, self._deadline_passed)

    def stop(self) -> None:
        """Handle the end of the connection. If the client has not logged in, report a failed login to the edge."""
        self._cancel_deadline()
        if self._verifying is not None:
            self._verifying.cancel()
            self._verifying = None
        self._report(False)

    def answer_hello(self, hello: m.Hello) -> None:
        """Answer the hello. Log a local client in, unless it asks for another user."""
        connection = self._session.connection
        if self._session.context.stopping:
            connection.fail(ErrorCode.DRAINING, "the service is shutting down; try again in a moment")
            return
        if m.PROTOCOL_VERSION not in hello.versions:
            connection.fail(
                ErrorCode.UNSUPPORTED_VERSION,
                f"this service uses version {m.PROTOCOL_VERSION} of the protocol, which the client does not offer",
            )
            return
        self._hello = hello
        local = self._local
        connection.send(
            0,
            m.Welcome(
                version=m.PROTOCOL_VERSION,
                software=SERVER_SOFTWARE,
                features=FEATURES,
                limits=connection.announced_limits,
                login=local is None,
                nonce=self.nonce,
            ),
        )
        if local is None:
            return
        user = local.principal.user
        if hello.user in (None, user):
            self._accept(local.principal, local)
        else:
            sentence = f"on this socket you can only log in as {user}"
            connection.fail(ErrorCode.DENIED, sentence)

    def answer_login(self, message: m.Login) -> None:
        """Start to verify one login proof; the client may send no other until it is answered."""
        self._verifying = asyncio.create_task(self._verify(message), name="login")

    async def _verify(self, message: m.Login) -> None:
        """Verify one login proof, and answer. The cause of a refusal is only logged, and not sent to the client."""
        try:
            offload = self._session.context.login_work.of(self._source)
            judged = await self._authenticate(message.public_key, message.signature, offload)
            found = await self._look_up(judged, offload) if isinstance(judged, Principal) else None
            self._verifying = None
            if not self._session.connection.closed:  # the client may have violated the protocol meanwhile
                self._answer_proof(judged, found)
        except Exception as error:  # noqa: BLE001  # a bug ends this connection with an error; other connections continue
            self._session.log.error("login failed because of an internal error", error=error)
            self._session.end(ErrorCode.INTERNAL, "the service failed to verify a login; its log says why")
        self._session.flush_soon()

    async def _look_up(self, principal: Principal, offload: Offload[Caller]) -> Caller | OSError:
        """Look up the account elsewhere than on the loop, because a name service may not answer."""
        try:
            return await offload(lambda: Caller.of(principal, self._peer, self._arrival))
        except OSError as error:
            return error

    def _answer_proof(self, judged: Principal | LoginRefusal, found: Caller | OSError | None) -> None:
        if isinstance(judged, Principal):
            assert found is not None
            self._accept(judged, found)
            return
        if judged.fault is not None:
            self._report = _report_nothing  # the client's source is not charged for what is wrong here
            sentence = f"the service cannot check logins now: {judged.fault}; try again in a moment"
            self._session.end(ErrorCode.UNAVAILABLE, sentence)
            return
        self._attempts_left -= 1
        if self._attempts_left > 0:
            self._session.connection.send(0, m.Refused(attempts_left=self._attempts_left))
            return
        self._report(False)
        tried = self._session.context.config.login.attempts
        sentence = f"no key offered is authorized for this user; a connection may offer {tried} (login.attempts)"
        self._session.end(ErrorCode.LOGIN_FAILED, sentence)

    async def _authenticate(
        self, public_key: bytes, signature: bytes, offload: Offload[object]
    ) -> Principal | LoginRefusal:
        from ..auth.login import LoginProof

        session, hello = self._session, self._hello
        assert hello is not None
        proof = LoginProof(
            user=hello.user or "",
            server_name=hello.server or "",
            public_key=public_key,
            signature=signature,
            server_nonce=self.nonce,
            client_nonce=hello.nonce,
            hello_sha256=sha256(session.connection.hello_frame).digest(),
            web=self._web,
        )
        authenticator = session.context.authenticator
        assert authenticator is not None  # only clients of an edge get here, and an edge has a host key
        judged = await authenticator.authenticate(proof, address=self._address, now=time.time(), offload=offload)
        if isinstance(judged, Principal):
            session.context.login_work.logged_in(self._source)
            return judged
        session.log.warning(
            "login refused", user=proof.user, key=judged.fingerprint, cause=judged.cause, detail=judged.detail
        )
        session.context.note(
            AuditEntry(
                "login_refused",
                time.time(),
                user=proof.user,
                how="key",
                key=judged.fingerprint,
                peer=self._peer,
                outcome=judged.cause,
                detail=judged.detail,
            )
        )
        return judged

    def _accept(self, principal: Principal, found: Caller | OSError) -> None:
        """Let the client in. `found` is what was found about its account."""
        session = self._session
        self._cancel_deadline()
        self._report(True)  # the edge must not penalise a client whose key is authorized
        try:
            if isinstance(found, OSError):
                raise found
            session.context.shares.bounds.add(principal.uid, principal.user, found.subject.groups)
            if self._local is None:  # a local client was counted when it was accepted
                session.context.shares.check_connection(principal.uid, principal.user, session.context.config)
        except ShareUsedUp as error:
            session.log.warning("connection refused", user=principal.user, reason=str(error))
            session.end(ErrorCode.TOO_MANY_RUNS, str(error))
            return
        except OSError as error:
            session.log.error("account not found", user=principal.user, reason=error.strerror)
            session.end(ErrorCode.UNAVAILABLE, account_unavailable(error))
            return
        if self._remote:
            session.log.info("login", user=principal.user, how=principal.how, key=principal.fingerprint)
        session.context.note(found.audit_entry("login"))
        session.logged_in(found)
        key = session.context.ticket_key if self._remote else None
        ticket, secret = (None, None) if key is None else key.issue(principal.user, time.time())
        accepted = m.Accepted(
            user=principal.user, host=platform.node() or "localhost", ticket=ticket, ticket_secret=secret
        )
        session.connection.send(0, accepted)
        # Nobody needs these any more, and an idle connection shall take little memory.
        self._hello, self._report, session.connection.hello_frame = None, _report_nothing, b""

    def _deadline_passed(self) -> None:
        self._deadline = None
        if self._verifying is not None:
            # The client has done its part, so its source is not charged.
            self._verifying.cancel()
            self._verifying = None
            self._report = _report_nothing
        self._report(False)
        self._session.log.warning("login deadline passed")
        self._session.end(ErrorCode.LOGIN_TIMEOUT, "the login took too long; connect again")

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
