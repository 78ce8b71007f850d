"""A client of the ssh-agent (draft-ietf-sshm-ssh-agent, OpenSSH PROTOCOL.agent): lists keys and signs with them."""

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple

from farhand_client.trust import AgentError
from farhand_protocol import sshformat
from farhand_protocol.sshformat import PublicKey, Reader, SSHFormatError, pack_string, pack_u32

MAX_AGENT_MESSAGE: Final = 256 * 1024
"""Bytes of an answer: OpenSSH's own limit (AGENT_MAX_LEN), enough for several hundred keys."""

LIST_TIMEOUT: Final = 5.0
"""Seconds after which listing keys is given up: no user has to confirm it."""

SIGN_TIMEOUT: Final = 60.0
"""Seconds after which signing is given up: the user may first have to touch the key or to confirm."""

_FAILURE = 5
_REQUEST_IDENTITIES, _IDENTITIES_ANSWER = 11, 12
_SIGN_REQUEST, _SIGN_RESPONSE = 13, 14
_RSA_SHA2_512 = 0x04


class AgentKey(NamedTuple):
    """A key in the agent, with its comment there (often the file it came from)."""

    public_key: PublicKey
    comment: str


class Agent:
    """The agent at a Unix socket. Each call uses its own connection; every failure is an AgentError."""

    def __init__(self, path: str, *, list_timeout: float = LIST_TIMEOUT, sign_timeout: float = SIGN_TIMEOUT) -> None:
        self.path = path
        self._list_timeout = list_timeout
        self._sign_timeout = sign_timeout

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Agent | None":
        """Return the agent that SSH_AUTH_SOCK names, or None if it is unset or empty."""
        path = environment.get("SSH_AUTH_SOCK")
        return cls(path) if path else None

    async def keys(self) -> list[AgentKey]:
        """Return the agent's keys in its order, without certificates and key types that Farhand does not use.

        Raises AgentError.
        """
        reader = await self._ask(bytes([_REQUEST_IDENTITIES]), _IDENTITIES_ANSWER, self._list_timeout)
        keys = []
        try:
            for _ in range(reader.u32()):
                blob, comment = reader.string(), reader.string()
                try:
                    key = sshformat.parse_public_key(blob)
                except SSHFormatError:
                    continue
                keys.append(AgentKey(key, comment.decode(errors="replace")))
            reader.end()
        except SSHFormatError as error:
            raise self._invalid(str(error)) from None
        return keys

    async def sign(self, key: PublicKey, data: bytes) -> bytes:
        """Return a signature over `data` in SSH's encoding, with rsa-sha2-512 for RSA keys.

        Raises AgentError, also if the agent signs with another algorithm, which the service would refuse.
        """
        flags = _RSA_SHA2_512 if key.type == sshformat.RSA else 0
        request = bytes([_SIGN_REQUEST]) + pack_string(key.blob) + pack_string(data) + pack_u32(flags)
        reader = await self._ask(request, _SIGN_RESPONSE, self._sign_timeout)
        try:
            signature = reader.string()
            reader.end()
            algorithm = Reader(signature).text()
        except SSHFormatError as error:
            raise self._invalid(str(error)) from None
        wanted = "rsa-sha2-512" if key.type == sshformat.RSA else key.type
        if algorithm != wanted:
            raise self._invalid(f"it signed with {algorithm!r} instead of {wanted!r}")
        return signature

    async def _ask(self, request: bytes, expected: int, timeout: float) -> Reader:
        try:
            async with asyncio.timeout(timeout):
                reply = await self._exchange(request)
        except TimeoutError:
            raise AgentError(
                f"the ssh-agent at {self.path} did not answer within {timeout:g} seconds;"
                " it may be waiting for a touch or a confirmation"
            ) from None
        except asyncio.IncompleteReadError:
            raise self._invalid("it closed the connection in the middle of an answer") from None
        except OSError as error:
            raise AgentError(
                f"cannot reach the ssh-agent at {self.path}: {error.strerror or error}; check SSH_AUTH_SOCK"
            ) from None
        if reply[:1] == bytes([_FAILURE]):
            raise AgentError(f"the ssh-agent at {self.path} refused this; it may be locked (ssh-add -X unlocks it)")
        if reply[:1] != bytes([expected]):
            raise self._invalid("the answer has the wrong type")
        return Reader(reply[1:])

    async def _exchange(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self.path)
        try:
            writer.write(pack_string(request))
            await writer.drain()
            size = int.from_bytes(await reader.readexactly(4), "big")
            if size > MAX_AGENT_MESSAGE:
                raise self._invalid(f"it announced {size} bytes; the maximum is {MAX_AGENT_MESSAGE}")
            return await reader.readexactly(size)
        finally:
            writer.close()

    def _invalid(self, what: str) -> AgentError:
        return AgentError(f"the ssh-agent at {self.path} sent an invalid answer: {what}")
