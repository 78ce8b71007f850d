"""The login phases of one connection: hello, welcome, proofs and their answers, and the deadline for all of that."""

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
from farhand_protocol.login import NONCE_SIZE

from .. import __version__
from ..admission.caller import Caller
from ..audit import AuditEntry
from ..auth.accounts import Principal
from ..config import ServiceConfig
from ..logs import Logger

if TYPE_CHECKING:  # importing it loads the cryptography, which a service for local clients does without
    from ..auth.login import Authenticator

SERVER_SOFTWARE: Final = f"farhandd/{__version__}"

LoginReport = Callable[[bool], None]
"""Tells the edge whether its client has logged in. Only the first call counts."""


class LoginContext(Protocol):
    """What the login needs of the core."""

    @property
    def config(self) -> ServiceConfig:
        """The configuration in force."""

    @property
    def authenticator(self) -> Authenticator | None:
        """Judges logins by key; None without a host key, and so without an edge."""

    def note(self, entry: AuditEntry) -> None:
        """Add an event to the audit log; it is written soon."""


class LoginSession(Protocol):
    """What the login needs of its session."""

    @property
    def connection(self) -> Connection:
        """The connection, in one of the phases before login."""

    @property
    def context(self) -> LoginContext:
        """The core."""

    @property
    def log(self) -> Logger:
        """The log, with the client's fields."""

    def logged_in(self, caller: Caller) -> None:
        """The client has logged in; its `Accepted` message is sent next."""

    def end(self, code: ErrorCode, sentence: str) -> None:
        """Send an error and close the connection."""


class LoginExchange:
    """Answers the messages before login. Its client has to log in, or is the local `principal`.

    Call `start` once the connection is up and `stop` once it is gone. `address` and `peer` are the address of an edge's
    client, to judge by and to write down; `report` tells the edge how the login went.
    """

    def __init__(
        self,
        session: LoginSession,
        *,
        principal: Principal | None = None,
        address: IPv4Address | IPv6Address | None = None,
        peer: str | None = None,
        report: LoginReport | None = None,
    ) -> None:
        self._session = session
        self._local = principal
        self._address = address
        self._peer = peer
        self._report = report or (lambda logged_in: None)
        self._remote = report is not None
        self.nonce: Final = os.urandom(NONCE_SIZE)
        self._hello: m.Hello | None = None
        self._attempts_left = session.context.config.login.attempts
        self._deadline: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start the time limit for the login."""
        seconds = self._session.context.config.login.deadline
        self._deadline = asyncio.get_running_loop().call_later(seconds, self._deadline_passed)

    def stop(self) -> None:
        """The connection is gone; for the edge a client that has not logged in by then has failed to."""
        self._cancel_deadline()
        self._report(False)

    def answer_hello(self, hello: m.Hello) -> None:
        """Answer the hello. It logs a local client in, unless the client wants to be another user."""
        connection = self._session.connection
        if m.PROTOCOL_VERSION not in hello.versions:
            connection.fail(
                ErrorCode.UNSUPPORTED_VERSION,
                f"this service speaks version {m.PROTOCOL_VERSION} of the protocol, which the client does not offer",
            )
            return
        self._hello = hello
        local = self._local
        connection.send(
            0,
            m.Welcome(
                version=m.PROTOCOL_VERSION,
                software=SERVER_SOFTWARE,
                limits=connection.announced_limits,
                login=local is None,
                nonce=self.nonce,
            ),
        )
        if local is None:
            return
        if hello.user in (None, local.user):
            self._accept(local)
        else:
            sentence = f"this socket logs clients in as {local.user} and as no other user"
            connection.fail(ErrorCode.DENIED, sentence)

    def answer_login(self, message: m.Login) -> None:
        """Judge one proof. The cause of a refusal is written to the log and nowhere else."""
        principal = self._authenticate(message.public_key, message.signature)
        if principal is not None:
            self._accept(principal)
            return
        self._attempts_left -= 1
        if self._attempts_left > 0:
            self._session.connection.send(0, m.Refused(attempts_left=self._attempts_left))
            return
        self._report(False)
        self._session.end(ErrorCode.LOGIN_FAILED, "none of the keys offered is authorized for this user")

    def reject(self, principal: Principal, sentence: str) -> None:
        """Refuse a local client whose account may not use this service, and close its connection."""
        entry = AuditEntry(
            "login_refused", time.time(), user=principal.user, how=principal.how, outcome="denied", detail=sentence
        )
        self._session.context.note(entry)
        self._session.end(ErrorCode.DENIED, sentence)

    def _authenticate(self, public_key: bytes, signature: bytes) -> Principal | None:
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
        )
        authenticator = session.context.authenticator
        assert authenticator is not None  # clients of an edge arrive only on its socket
        judged = authenticator.authenticate(proof, address=self._address, now=time.time())
        if isinstance(judged, Principal):
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
        return None

    def _accept(self, principal: Principal) -> None:
        session = self._session
        caller = Caller.of(principal, self._peer)
        self._cancel_deadline()
        self._report(True)
        if self._remote:
            session.log.info("login", user=principal.user, how=principal.how, key=principal.fingerprint)
        session.context.note(caller.audit_entry("login"))
        session.logged_in(caller)
        session.connection.send(0, m.Accepted(user=principal.user, host=platform.node() or "localhost"))

    def _deadline_passed(self) -> None:
        self._deadline = None
        self._report(False)
        self._session.log.warning("login deadline passed")
        self._session.end(ErrorCode.LOGIN_TIMEOUT, "the login took too long; connect again")

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
