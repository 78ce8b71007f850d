"""The login: the hello message, and proof of a key if the service asks for it.

The proof is a signature over the login transcript (`farhand_protocol.login`), which binds it to this connection's TLS
key, both nonces and the hello, so that it can be neither replayed nor relayed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from farhand_client.errors import AuthenticationError, ConnectError, ConnectionLost, RequestRefused
from farhand_client.version import SOFTWARE
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.features import FEATURES
from farhand_protocol.frames import Kind, encode_frame

from .address import Address
from .attempts import ATTEMPTS_WHEN_CLOSED, ConnectionDropped
from .deadline import ConnectDeadline
from .dial import DialledSession
from .refusal import refusal_text
from .session import ClientSession

if TYPE_CHECKING:
    from farhand_client.trust.identities import Identities, Identity


class LoginResult(NamedTuple):
    """A session that is ready for requests, and what was exchanged on the way.

    `identity` is the key that was accepted; None if the service asked for none, as on a Unix socket. `signing` is the
    time in seconds that its signature took.
    """

    session: ClientSession
    welcome: m.Welcome
    accepted: m.Accepted
    identity: Identity | None
    signing: float = 0.0


def introduction(login: LoginResult) -> bytes:
    """Return the frames that a client receives, to which somebody else's login is lent, as from a service that has
    identified it by itself."""
    welcome = login.welcome.model_copy(update={"login": False})
    without: dict[str, None] = dict.fromkeys(("ticket", "ticket_secret"))
    accepted = login.accepted.model_copy(update=without)
    return b"".join(encode_frame(Kind.MESSAGE, 0, m.encode(message)) for message in (welcome, accepted))


async def log_in(
    dialled: DialledSession,
    address: Address,
    identities: Identities | None,
    deadline: ConnectDeadline,
    touch: Callable[[str], None] | None = None,
) -> LoginResult:
    """Send the hello and prove who the user is. After an error the session is closed.

    `touch` is called with a sentence whenever a security key has to be touched. Raises `ConnectError`,
    `AuthenticationError`, and `RequestRefused` if the service gives a reason for accepting no login.
    """
    try:
        return await _log_in(dialled, address, identities, deadline, touch)
    except ConnectionLost as error:
        dialled.session.abort()
        raise ConnectionDropped(f"{error} before the login was complete", attempts=ATTEMPTS_WHEN_CLOSED) from None
    except BaseException:
        dialled.session.abort()
        raise


async def _log_in(
    dialled: DialledSession,
    address: Address,
    identities: Identities | None,
    deadline: ConnectDeadline,
    touch: Callable[[str], None] | None,
) -> LoginResult:
    session = dialled.session
    hello = m.Hello(
        versions=(m.PROTOCOL_VERSION,),
        software=SOFTWARE,
        features=FEATURES,
        limits=session.connection.announced_limits,
        user=_requested_user(address),
        server=None if address.asks_for_no_key else address.host,
        nonce=os.urandom(32),
    )
    if session.end_cause is None:  # otherwise the service has refused the client unasked, and the reason is read next
        session.send(hello)
    identity, signing = None, 0.0
    welcome = await _answer(session, deadline)
    assert isinstance(welcome, m.Welcome)
    if not welcome.login:
        accepted = await _answer(session, deadline)
    elif dialled.spki_sha256 is None or identities is None:
        raise ConnectError(
            f"{address} is the edge's socket, on which this client cannot log in; use the service's other socket"
        )
    else:
        accepted, identity, signing = await _prove(
            session, hello, welcome, dialled.spki_sha256, identities, deadline, touch
        )
    assert isinstance(accepted, m.Accepted)
    session.login_done()
    return LoginResult(session, welcome, accepted, identity, signing)


def _requested_user(address: Address) -> str | None:
    if address.ssh:
        return None  # ssh has logged in as that user
    return address.user or (None if address.socket is not None else local_user())


def local_user() -> str:
    """Return the name of this process's account, which is also the default for the remote account, as with ssh.

    Raises `ConnectError` if the user id has no name.
    """
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        raise ConnectError(
            f"the local user id {os.getuid()} has no name; write the user to log in as: user@host"
        ) from None


def _is_local_user(user: str | None) -> bool:
    try:
        return user == local_user()
    except ConnectError:
        return False  # it has no name


async def _answer(session: ClientSession, deadline: ConnectDeadline) -> m.AnyMessage:
    deadline.logging_in(session.name)
    return await session.receive_login_message()


async def _prove(
    session: ClientSession,
    hello: m.Hello,
    welcome: m.Welcome,
    spki_sha256: bytes,
    identities: Identities,
    deadline: ConnectDeadline,
    touch: Callable[[str], None] | None,
) -> tuple[m.AnyMessage, Identity, float]:
    from hashlib import sha256

    from farhand_client.trust import TrustError
    from farhand_protocol.login import login_transcript

    tried: list[str] = []
    attempts_used_up = False
    next_key = "the login keys were not read", "; their file system may hang"
    deadline.step(*next_key)
    try:
        async for identity in identities.each(lambda: deadline.left):
            transcript = login_transcript(
                spki_sha256=spki_sha256,
                server_nonce=welcome.nonce,
                client_nonce=hello.nonce,
                server_name=hello.server or "",
                user=hello.user or "",
                hello_sha256=sha256(session.connection.hello_frame).digest(),
                public_key=identity.public_key.blob,
            )
            deadline.signing(identity.description)
            if identity.public_key.application is not None:
                deadline.step(f"{identity.description} did not sign", "; it waits for a touch")
                if touch is not None:
                    touch(f"touch your security key: {identity.description}")
            began = time.monotonic()
            try:
                signature = await identity.sign(transcript)
            except TrustError as error:
                identities.problems.append(error)
                continue
            signing = time.monotonic() - began
            if session.end_cause is not None:
                raise session.end_cause
            tried.append(identity.description)
            session.send(m.Login(public_key=identity.public_key.blob, signature=signature))
            answer = await _answer(session, deadline)
            if not isinstance(answer, m.Refused):
                return answer, identity, signing
            deadline.step(*next_key)
    except RequestRefused as error:
        if error.code is not ErrorCode.LOGIN_FAILED:
            raise
        attempts_used_up = True
    text = refusal_text(
        session.name,
        hello.user or "",
        tried,
        identities,
        attempts_used_up=attempts_used_up,
        same_user_here=_is_local_user(hello.user),
    )
    if not tried and identities.accepted_before:
        raise ConnectError(text)  # the agent may be restarting, or the smart card may be unplugged
    raise AuthenticationError(text)
