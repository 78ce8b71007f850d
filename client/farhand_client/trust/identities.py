"""The keys to log in with, in the order in which they are tried."""

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

from farhand_client.blocking import run_blocking
from farhand_client.trust import AgentError, IdentityError, TrustError
from farhand_client.trust.agent import Agent
from farhand_client.trust.agent_messages import LIST_TIMEOUT, AgentKey
from farhand_client.trust.keyfile import (
    AskPassphrase,
    KeyFile,
    SealedKeyFile,
    read_key_file,
)
from farhand_client.trust.public_key_file import is_public_key_file, read_public_key_file
from farhand_protocol import login
from farhand_protocol.sshformat import PublicKey

# ssh's order (ssh(1), -i), best first. No security keys: their files need the agent.
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


def default_key_files(directory: Path) -> tuple[Path, ...]:
    """Return the files that keys have by default in `directory`. They need not exist."""
    return tuple(directory / name for name in _DEFAULT_NAMES)


Candidate: TypeAlias = AgentIdentity | KeyFile | SealedKeyFile
"""A key that may be tried."""


class Identities:
    """The identities to try, each once: `async for identity in Identities(...)`.

    With `named` files, exactly those, through the agent if it holds the key: a script that names a key with few rights
    must not log in with another one. Otherwise, as the service only allows a few attempts, the likeliest first:

    1. the `own` files, which the user made for Farhand: through the agent if it holds the key, or unencrypted;
    2. the keys of the agent that are also in `usual` files;
    3. the other keys of the agent, and of these the security keys last, because each waits for a touch;
    4. the other `own` files, which need a passphrase, and the other `usual` files.

    `first`, if given, is the identity that was accepted before. `ask` asks the user for a passphrase.
    """

    def __init__(
        self,
        *,
        named: Sequence[Path] = (),
        agent: Agent | None = None,
        own: Sequence[Path] = (),
        usual: Sequence[Path] = (),
        ask: AskPassphrase | None = None,
        first: Identity | None = None,
    ) -> None:
        self._named = named
        self._agent = agent
        self._own = own
        self._usual = usual
        self._ask = ask
        self._first = first
        self.accepted_before = False
        """Whether the service has accepted `first`, so that a key which cannot be used now may be usable again soon."""
        self._queue: deque[Candidate] | None = None
        self._last: Identity | None = None
        self.problems: list[TrustError] = []
        """Why keys could not be tried so far; to be reported if no key is accepted."""
        self.not_named = 0
        """How many keys of the agent are not tried because others are named."""

    @property
    def untried(self) -> list[str]:
        """Descriptions of the keys that have not been tried yet, in their order."""
        return [candidate.description for candidate in self._queue or ()]

    def again(self) -> None:
        """Begin the next iteration with the identity that was yielded last, and go on after it."""
        self._first = self._last

    def for_reconnect(self, identity: Identity | None) -> "Identities":
        """Return the identities for another login, `identity` first. They do not ask for passphrases."""
        again = Identities(named=self._named, agent=self._agent, own=self._own, usual=self._usual, first=identity)
        again.accepted_before = identity is not None
        return again

    def afresh(self) -> "Identities":
        """Return the same identities for one more login: keys that were tried before are tried again."""
        again = self.for_reconnect(self._first)
        again.accepted_before = self.accepted_before
        return again

    def accepted(self, identity: Identity | None) -> None:
        """Note that the service has accepted this identity, if it has asked for one: it is the first from now on."""
        if identity is not None:
            self._first, self.accepted_before = identity, True

    def __aiter__(self) -> AsyncIterator[Identity]:
        return self.each(lambda: 2 * LIST_TIMEOUT)

    async def each(self, time_left: Callable[[], float]) -> AsyncIterator[Identity]:
        """Yield the identities. What cannot be used is added to `problems`.

        An agent that hangs is passed over after half of the seconds that `time_left` returns, or `LIST_TIMEOUT`.
        """
        first = self._first
        if first is not None:
            self._last = first
            yield first
        if self._queue is None:
            self._queue = deque(await self._candidates(min(LIST_TIMEOUT, time_left() / 2)))
        while self._queue:
            candidate = self._queue.popleft()
            try:
                identity = await candidate.open() if isinstance(candidate, SealedKeyFile) else candidate
            except IdentityError as error:
                self.problems.append(error)
                continue
            if first is None or identity.public_key.blob != first.public_key.blob:
                self._last = identity
                yield identity

    async def _candidates(self, agent_timeout: float) -> list[Candidate]:
        in_agent = await self._agent_identities(agent_timeout)
        if not self._named:
            return await run_blocking(self._default_candidates, in_agent)
        candidates = await run_blocking(self._named_candidates, in_agent)
        named = {candidate.public_key.blob for candidate in candidates if not isinstance(candidate, SealedKeyFile)}
        self.not_named = len(in_agent.keys() - named)
        return candidates

    async def _agent_identities(self, timeout: float) -> dict[bytes, AgentIdentity]:
        if self._agent is None:
            return {}
        try:
            usable, unusable = await self._agent.keys(timeout)
        except AgentError as error:
            self.problems.append(error)
            return {}
        for key in unusable:
            self.problems.append(AgentError(f"{key.comment or 'a key'} in the ssh-agent: {key.reason}"))
        return {key.public_key.blob: AgentIdentity(self._agent, key) for key in usable}

    def _named_candidates(self, in_agent: dict[bytes, AgentIdentity]) -> list[Candidate]:
        candidates = []
        for path in self._named:
            try:
                candidates.append(self._named_candidate(path, in_agent))
            except IdentityError as error:
                self.problems.append(error)
        return _distinct(candidates)

    def _named_candidate(self, path: Path, in_agent: dict[bytes, AgentIdentity]) -> Candidate:
        """Return the candidate of `path`: a private key file or, for a key in the agent, its .pub file."""
        only_public = is_public_key_file(path)
        public = read_public_key_file(path if only_public else Path(f"{path}.pub"))
        if public is not None and public.blob in in_agent:
            return in_agent[public.blob]
        file = None if only_public else read_key_file(path, ask=self._ask)
        if isinstance(file, SealedKeyFile):
            return file
        if file is not None:
            return in_agent.get(file.public_key.blob, file)
        if public is None:
            raise IdentityError(f"{path}: no such file")
        if not only_public:
            raise IdentityError(f"{path}: no such file, and the ssh-agent does not hold the key of {path}.pub")
        where = "the ssh-agent does not hold it" if self._agent else "there is no ssh-agent (SSH_AUTH_SOCK is not set)"
        raise IdentityError(f"{path} is a public key, and {where}; name the private key file, or run ssh-add")

    def _default_candidates(self, in_agent: dict[bytes, AgentIdentity]) -> list[Candidate]:
        own, usual = self._files(self._own, in_agent), self._files(self._usual, in_agent)
        candidates = [key for key in own if isinstance(key, AgentIdentity) or not key.encrypted]
        candidates += [key for key in usual if isinstance(key, AgentIdentity)]
        others: list[AgentIdentity] = sorted(in_agent.values(), key=_needs_touch)
        return _distinct([*candidates, *others, *own, *usual])

    def _files(self, paths: Sequence[Path], in_agent: dict[bytes, AgentIdentity]) -> list[Candidate]:
        candidates: list[Candidate] = []
        for path in paths:
            try:
                file = _in_agent(path, in_agent) or read_key_file(path, ask=self._ask)
            except IdentityError as error:
                self.problems.append(error)
                continue
            if isinstance(file, KeyFile):
                file = in_agent.get(file.public_key.blob, file)
            if file is not None:
                candidates.append(file)
        return candidates


def _in_agent(path: Path, in_agent: dict[bytes, AgentIdentity]) -> AgentIdentity | None:
    """Return the agent's key that the .pub file of `path` names, if there is one: the private file need not exist."""
    try:
        public = read_public_key_file(Path(f"{path}.pub"))
    except IdentityError:
        return None  # only a hint here; most private key files hold the public key, too
    return None if public is None else in_agent.get(public.blob)


def _needs_touch(identity: AgentIdentity) -> bool:
    return identity.public_key.application is not None


def _distinct(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the candidates without repeated keys. The same key may still be in a sealed file."""
    found: dict[bytes | Path, Candidate] = {}
    for candidate in candidates:
        place = candidate.path if isinstance(candidate, SealedKeyFile) else candidate.public_key.blob
        found.setdefault(place, candidate)
    return list(found.values())
