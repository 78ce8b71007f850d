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
"""Seconds after which listing keys is given up, so that key files are tried: no user has to confirm it, and an agent
that has to start first, with a smart card, takes one or two."""

MAX_COMMENT: Final = 256
"""Bytes of a comment that are kept, and `MAX_REASON` characters of what is wrong with a key: both are shown."""

MAX_REASON: Final = 200

_FAILURE = 5
_REQUEST_IDENTITIES, _IDENTITIES_ANSWER = 11, 12
_SIGN_REQUEST, _SIGN_RESPONSE = 13, 14
_RSA_SHA2_512 = 0x04


class AgentKey(NamedTuple):
    """A key in the agent, with its comment there (often the file it came from)."""

    public_key: PublicKey
    comment: str


class UnusableAgentKey(NamedTuple):
    """A key in the agent that Farhand cannot use, with the reason."""

    comment: str
    reason: str


class Agent:
    """The agent at a Unix socket. Each call uses its own connection; every failure is an AgentError."""

    def __init__(self, path: str) -> None:
        self.path = path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Agent | None":
        """Return the agent that SSH_AUTH_SOCK names, or None if it is unset or empty."""
        path = environment.get("SSH_AUTH_SOCK")
        return cls(path) if path else None

    async def keys(self, timeout: float = LIST_TIMEOUT) -> tuple[list[AgentKey], list[UnusableAgentKey]]:
        """Return the agent's keys in its order: those that Farhand can use, and the others.

        The others are certificates, and keys of other types and sizes. Raises AgentError, also if the agent does not
        answer within `timeout` seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                request = bytes([_REQUEST_IDENTITIES])
                reader = await self._ask(request, _IDENTITIES_ANSWER, "to list its keys; is it locked? (ssh-add -X)")
        except TimeoutError:
            raise AgentError(
                f"the ssh-agent at {self.path} did not list its keys within {timeout:.2g} seconds; check SSH_AUTH_SOCK"
            ) from None
        usable, unusable = [], []
        try:
            for _ in range(reader.u32()):
                blob, comment = reader.string(), reader.string()[:MAX_COMMENT].decode(errors="replace")
                try:
                    usable.append(AgentKey(sshformat.parse_public_key(blob), comment))
                except SSHFormatError as error:
                    unusable.append(UnusableAgentKey(comment, str(error)[:MAX_REASON]))
            reader.end()
        except SSHFormatError as error:
            raise self._invalid(str(error)) from None
        return usable, unusable

    async def sign(self, key: PublicKey, data: bytes) -> bytes:
        """Return a signature over `data` in SSH's encoding, with rsa-sha2-512 for RSA keys.

        The agent may wait for a person, so the caller sets the time limit. Raises AgentError, also if the agent signs
        with another algorithm, which the service would refuse.
        """
        flags = _RSA_SHA2_512 if key.type == sshformat.RSA else 0
        request = bytes([_SIGN_REQUEST]) + pack_string(key.blob) + pack_string(data) + pack_u32(flags)
        missing = "to sign; a touch or confirmation may be missing, the key may be gone, or the agent may be locked"
        reader = await self._ask(request, _SIGN_RESPONSE, missing)
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

    async def _ask(self, request: bytes, expected: int, refusal: str) -> Reader:
        try:
            reply = await self._exchange(request)
        except asyncio.IncompleteReadError:
            raise self._invalid("it closed the connection in the middle of an answer") from None
        except OSError as error:
            raise AgentError(
                f"cannot reach the ssh-agent at {self.path}: {error.strerror or error}; check SSH_AUTH_SOCK"
            ) from None
        if reply[:1] == bytes([_FAILURE]):
            raise AgentError(f"the ssh-agent at {self.path} refused {refusal}")
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
