"""The keys to log in with, in the order in which they are tried."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from farhand_client.trust import AgentError, IdentityError, TrustError
from farhand_client.trust.agent import Agent, AgentKey
from farhand_protocol import login
from farhand_protocol.sshformat import PublicKey

if TYPE_CHECKING:
    from farhand_client.trust.keyfile import AskPassphrase

# ssh's order (ssh(1), -i), best first. No security keys: their files need the agent, whose keys come first.
_DEFAULT_NAMES = ("id_ed25519", "id_ecdsa", "id_rsa")


class Identity(Protocol):
    """A key that can prove who the user is."""

    @property
    def public_key(self) -> PublicKey:
        """The public key. A key with an `application` is a security key and waits for a touch."""

    @property
    def description(self) -> str:
        """What the key is and where, for messages."""

    async def sign(self, transcript: bytes) -> bytes:
        """Return the SSHSIG blob over a login transcript, in login.LOGIN_NAMESPACE. Raises TrustError."""


class AgentIdentity:
    """A key in an ssh-agent."""

    def __init__(self, agent: Agent, key: AgentKey) -> None:
        self.public_key = key.public_key
        self._agent = agent
        self._comment = key.comment

    @property
    def description(self) -> str:
        return f"{self._comment or 'a key'} in the ssh-agent ({self.public_key.fingerprint})"

    async def sign(self, transcript: bytes) -> bytes:
        signature = await self._agent.sign(self.public_key, login.sshsig_signed_data(transcript, login.LOGIN_NAMESPACE))
        return login.encode_sshsig(self.public_key.blob, login.LOGIN_NAMESPACE, signature)


def default_key_files(home: Path, config: Path) -> tuple[Path, ...]:
    """Return the default key files: those in Farhand's own directory, then those in ~/.ssh."""
    return tuple(directory / name for directory in (config, home / ".ssh") for name in _DEFAULT_NAMES)


class Identities:
    """The identities to try: `async for identity in Identities(...)`.

    With `named` files, exactly those, signed by the agent if it holds the key; otherwise all keys of the agent, then
    the `default` files that exist. No key is tried twice. `first`, if given, is the identity that was accepted before.
    `ask` asks the user for a passphrase.
    """

    def __init__(
        self,
        *,
        named: Sequence[Path] = (),
        agent: Agent | None = None,
        default: Sequence[Path] = (),
        ask: "AskPassphrase | None" = None,
        first: Identity | None = None,
    ) -> None:
        self._named = named
        self._agent = agent
        self._default = default
        self._ask = ask
        self._first = first
        self.problems: list[TrustError] = []
        """Why keys could not be tried so far; to be reported if no key is accepted."""

    async def __aiter__(self) -> AsyncIterator[Identity]:
        """Yield the identities. Raises IdentityError for a named file that cannot be used; other failures become
        `problems`."""
        if self._first is None:
            async for identity in self._others():
                yield identity
            return
        yield self._first
        async for identity in self._others():
            if identity.public_key.blob != self._first.public_key.blob:
                yield identity

    def for_reconnect(self, identity: Identity | None) -> "Identities":
        """Return the identities for another login, `identity` first. They do not ask for passphrases."""
        return Identities(named=self._named, agent=self._agent, default=self._default, first=identity)

    async def _others(self) -> AsyncIterator[Identity]:
        in_agent = await self._agent_identities()
        if self._named:
            for path in self._named:
                yield await self._named_identity(path, in_agent)
            return
        for identity in in_agent.values():
            yield identity
        # Imported only if no key of the agent is accepted: most logins never need it.
        from farhand_client.trust.keyfile import open_key_file

        tried = set(in_agent)
        for path in self._default:
            try:
                file = await open_key_file(path, ask=self._ask)
            except IdentityError as error:
                self.problems.append(error)
                continue
            if file is not None and file.public_key.blob not in tried:
                tried.add(file.public_key.blob)
                yield file

    async def _agent_identities(self) -> dict[bytes, Identity]:
        if self._agent is None:
            return {}
        try:
            keys = await self._agent.keys()
        except AgentError as error:
            self.problems.append(error)
            return {}
        return {key.public_key.blob: AgentIdentity(self._agent, key) for key in keys}

    async def _named_identity(self, path: Path, in_agent: dict[bytes, Identity]) -> Identity:
        """Return the identity of `path`: a private key file or, for a key in the agent, its .pub file."""
        from farhand_client.trust.keyfile import open_key_file, read_public_key_file

        public = read_public_key_file(path if path.suffix == ".pub" else path.with_name(path.name + ".pub"))
        if public is not None and public.blob in in_agent:
            return in_agent[public.blob]
        file = None if path.suffix == ".pub" else await open_key_file(path, ask=self._ask)
        if file is not None:
            return in_agent.get(file.public_key.blob, file)
        if public is None:
            raise IdentityError(f"{path}: no such file")
        raise IdentityError(f"the ssh-agent does not hold the key {public.fingerprint} of {path}")
