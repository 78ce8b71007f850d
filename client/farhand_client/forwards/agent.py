"""The ssh-agent here for programs there (`-A`): each connection is bound before the first byte of theirs.

An agent of OpenSSH takes a connection that says nothing about itself for one of a program on this machine, and lets it
use every key. Keys with destination constraints (ssh-add -h) would then be usable from any machine that we forward the
agent to. So a `session-bind@openssh.com` request comes first, which says that this connection is forwarded to who holds
a certain host key. Farhand has no host key of SSH that the user could have named in a constraint; a fresh key, which
nobody keeps, is one that no constraint names. Hence keys with destination constraints are neither listed nor used over
there, and other keys are. The agent also adds no PKCS#11 and FIDO libraries for such a connection. Agents that do not
know the request answer that it failed; they know no destination constraints either.

(PROTOCOL.agent, section 1; ssh-agent.c, process_ext_session_bind and identity_permitted.)
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Final

from farhand_client.connection.dial import connected_socket
from farhand_client.trust import AgentError
from farhand_client.trust.agent_messages import answer_size
from farhand_forwards.targets import ForwardRefused
from farhand_protocol.sshformat import pack_string

BIND_TIMEOUT: Final = 5.0
"""Seconds for the agent to accept a connection and answer the binding, which needs no person: as for listing its keys
(`LIST_TIMEOUT`)."""

_EXTENSION: Final = 27
_ANSWERS: Final = frozenset({5, 6, 28})  # failure, success, extension failure
_SESSION_BIND: Final = b"session-bind@openssh.com"
_SESSION_ID_SIZE: Final = 32  # bytes of a SHA-256, as session ids of SSH are; the agent takes up to 128


class ForwardedAgent:
    """The agent at the Unix socket `path`, for connections that come from another machine."""

    def __init__(self, path: str) -> None:
        self.path: Final = path
        self._binding = session_bind()

    async def connect(self) -> socket.socket:
        """Return a new connection to the agent, which knows that it is a forwarded one. Raises `ForwardRefused`."""
        try:
            async with asyncio.timeout(BIND_TIMEOUT):
                return await self._bound()
        except TimeoutError:
            text = f"the ssh-agent at {self.path} did not answer within {BIND_TIMEOUT:g} seconds"
            raise ForwardRefused("timeout", text) from None
        except (OSError, AgentError) as error:
            reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            raise ForwardRefused("failed", f"cannot reach the ssh-agent at {self.path}: {reason}") from None

    async def _bound(self) -> socket.socket:
        connection = await connected_socket(self.path)
        try:
            await asyncio.get_running_loop().sock_sendall(connection, self._binding)
            size = answer_size(self.path, await _received(connection, 4))
            answer = await _received(connection, size)
            if answer[:1] not in {bytes([kind]) for kind in _ANSWERS}:
                raise AgentError("its answer to the binding of the connection has the wrong type")
        except BaseException:
            connection.close()
            raise
        return connection


def session_bind() -> bytes:
    """Return the request that binds a connection to a new host key, which is not kept, as a forwarded one."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    name = b"ssh-ed25519"
    public = key.public_key().public_bytes_raw()
    session = os.urandom(_SESSION_ID_SIZE)
    host_key = pack_string(name) + pack_string(public)
    signature = pack_string(name) + pack_string(key.sign(session))
    fields = (_SESSION_BIND, host_key, session, signature)
    forwarded = b"\1"
    return pack_string(bytes([_EXTENSION]) + b"".join(map(pack_string, fields)) + forwarded)


async def _received(connection: socket.socket, count: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < count:
        more = await loop.sock_recv(connection, count - len(data))
        if not more:
            raise AgentError("it closed the connection")
        data += more
    return data
