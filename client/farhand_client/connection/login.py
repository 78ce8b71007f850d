"""From a transport to a session that takes requests: hello, and a key where the service asks for one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NamedTuple

from farhand_client.errors import AuthenticationError, ConnectError, ConnectionLost, RequestRefused
from farhand_client.version import SOFTWARE
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode

from .address import Address
from .dial import DialledSession
from .session import ClientSession

if TYPE_CHECKING:
    from farhand_client.trust import TrustError
    from farhand_client.trust.identities import Identities, Identity


class LoginResult(NamedTuple):
    """A session that takes requests, what the service said, and what proved who the user is, where that was asked."""

    session: ClientSession
    welcome: m.Welcome
    accepted: m.Accepted
    identity: Identity | None


async def log_in(
    dialled: DialledSession, address: Address, identities: Identities | None, timeout: float
) -> LoginResult:
    """Say hello and prove who the user is. `timeout` is in seconds, for each answer of the service.

    Raises `ConnectError`, `AuthenticationError`, and `RequestRefused` where the service says why it takes nobody.
    """
    session = dialled.session
    hello = m.Hello(
        versions=(m.PROTOCOL_VERSION,),
        software=SOFTWARE,
        limits=session.connection.announced_limits,
        user=address.user if address.socket is not None else address.user or local_user(),
        server=address.host or None,
        nonce=os.urandom(32),
    )
    session.send(hello)
    identity = None
    try:
        welcome = await _answer(session, timeout)
        assert isinstance(welcome, m.Welcome)
        if not welcome.login:
            accepted = await _answer(session, timeout)
        elif dialled.spki_sha256 is None or identities is None:
            raise ConnectError(f"{address} is a socket for the edge, where nobody can log in; ask for the other one")
        else:
            accepted, identity = await _prove(session, hello, welcome, dialled.spki_sha256, identities, timeout)
    except ConnectionLost as error:
        raise ConnectError(f"{error} before the login was done") from None
    assert isinstance(accepted, m.Accepted)
    session.ready()
    return LoginResult(session, welcome, accepted, identity)


def local_user() -> str:
    """Return the name of this process's account, as ssh takes it for the remote one."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        raise ConnectError(f"the user id {os.getuid()} has no name here; say whom to log in as: user@host") from None


async def _answer(session: ClientSession, timeout: float) -> m.AnyMessage:
    try:
        async with asyncio.timeout(timeout):
            return await session.login_message()
    except TimeoutError:
        raise ConnectError(f"{session.name} did not answer within {timeout:g} seconds") from None


async def _prove(
    session: ClientSession,
    hello: m.Hello,
    welcome: m.Welcome,
    spki_sha256: bytes,
    identities: Identities,
    timeout: float,
) -> tuple[m.AnyMessage, Identity]:
    from hashlib import sha256

    from farhand_client.trust import TrustError
    from farhand_protocol.login import login_transcript

    tried: list[str] = []
    try:
        async for identity in _each(identities):
            transcript = login_transcript(
                spki_sha256=spki_sha256,
                server_nonce=welcome.nonce,
                client_nonce=hello.nonce,
                server_name=hello.server or "",
                user=hello.user or "",
                hello_sha256=sha256(session.connection.hello_frame).digest(),
                public_key=identity.public_key.blob,
            )
            try:
                signature = await identity.sign(transcript)
            except TrustError as error:
                identities.problems.append(error)
                continue
            tried.append(identity.description)
            session.send(m.Login(public_key=identity.public_key.blob, signature=signature))
            answer = await _answer(session, timeout)
            if not isinstance(answer, m.Refused):
                return answer, identity
    except RequestRefused as error:
        if error.code is not ErrorCode.LOGIN_FAILED:
            raise
    raise AuthenticationError(_sentence(session.name, hello.user or "", tried, identities.problems))


async def _each(identities: Identities) -> AsyncIterator[Identity]:
    from farhand_client.trust import TrustError

    try:
        async for identity in identities:
            yield identity
    except TrustError as error:
        raise AuthenticationError(str(error)) from None


def _sentence(name: str, user: str, tried: list[str], problems: list[TrustError]) -> str:
    lines = [f"{name} does not let {user} in"]
    if tried:
        lines[0] += " with any of the keys that were tried:"
        lines += [f"  {description}" for description in tried]
    else:
        lines[0] += ": there was no key to try. Make one with ssh-keygen -t ed25519, or name one with --identity"
    lines += [f"  not tried: {problem}" for problem in problems]
    lines.append(f"On the machine of the service, as {user}, a public key is let in by: farhandd authorize KEYFILE.pub")
    return "\n".join(lines)
