"""A client of the ssh-agent: lists keys and signs with them. `agent_messages` has what is said."""

import asyncio
from collections.abc import Mapping

from farhand_client.trust import AgentError
from farhand_client.trust.agent_messages import (
    LIST_REQUEST,
    LIST_TIMEOUT,
    AgentKey,
    UnusableAgentKey,
    answer_size,
    invalid_answer,
    listed_keys,
    sign_request,
    signature_of,
)
from farhand_protocol.sshformat import PublicKey


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
                return listed_keys(self.path, await self._ask(LIST_REQUEST))
        except TimeoutError:
            raise AgentError(
                f"the ssh-agent at {self.path} did not list its keys within {timeout:.2g} seconds; check SSH_AUTH_SOCK"
            ) from None

    async def sign(self, key: PublicKey, data: bytes) -> bytes:
        """Return a signature over `data` in SSH's encoding, with rsa-sha2-512 for RSA keys.

        The agent may wait for a person, so the caller sets the time limit. Raises AgentError, also if the agent signs
        with another algorithm, which the service would refuse.
        """
        return signature_of(self.path, key, await self._ask(sign_request(key, data)))

    async def _ask(self, request: bytes) -> bytes:
        try:
            return await self._exchange(request)
        except asyncio.IncompleteReadError:
            raise invalid_answer(self.path, "it closed the connection in the middle of an answer") from None
        except OSError as error:
            raise AgentError(
                f"cannot reach the ssh-agent at {self.path}: {error.strerror or error}; check SSH_AUTH_SOCK"
            ) from None

    async def _exchange(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self.path)
        try:
            writer.write(request)
            await writer.drain()
            return await reader.readexactly(answer_size(self.path, await reader.readexactly(4)))
        finally:
            writer.close()
