"""The keys to log in with, in the order of `trust.identities`, as far as they need no questions and no waiting.

A key is an Ed25519 key in an unencrypted file, or any in the ssh-agent that needs no touch. At any other the asyncio
client takes over.
"""

from __future__ import annotations

import os
import select
import socket

from farhand_client.mux.request import absolute
from farhand_client.trust import AgentError, IdentityError
from farhand_client.trust.agent_messages import (
    LIST_REQUEST,
    LIST_TIMEOUT,
    AgentKey,
    answer_size,
    listed_keys,
    sign_request,
    signature_of,
)
from farhand_client.trust.files import read_small_file
from farhand_client.trust.openssh_key import ed25519_seed, openssh_body, read_container
from farhand_client.trust.public_key_file import MAX_IDENTITY_FILE_SIZE, is_public_key_file, read_public_key_file
from farhand_protocol import sshformat
from farhand_protocol.login import LOGIN_NAMESPACE, encode_sshsig, sshsig_signed_data
from farhand_protocol.sshformat import PublicKey, SSHFormatError, pack_string

from .deadline import NotDirectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .deadline import DirectDeadline

_DEFAULT_NAMES = ("id_ed25519", "id_ecdsa", "id_rsa")  # as in `trust.identities`


class LoginKey:
    """A key that can prove who the user is. `description` says what it is and where, for messages."""

    def __init__(self, public_key: PublicKey, description: str) -> None:
        self.public_key = public_key
        self.description = description

    def sign(self, transcript: bytes, deadline: DirectDeadline) -> bytes:
        """Return the SSHSIG blob over a login transcript. Raises NotDirectError."""
        signature = self._sign(sshsig_signed_data(transcript, LOGIN_NAMESPACE), deadline)
        return encode_sshsig(self.public_key.blob, LOGIN_NAMESPACE, signature)

    @property
    def in_offer(self) -> bytes:
        """How the key is named in an offer to the helper."""
        raise NotImplementedError

    def _sign(self, data: bytes, deadline: DirectDeadline) -> bytes:
        raise NotImplementedError


class _KeyInAgent(LoginKey):
    def __init__(self, path: str, key: AgentKey) -> None:
        text = f"{key.comment or 'a key'} in the ssh-agent ({key.public_key.fingerprint})"
        super().__init__(key.public_key, text)
        self._path = path

    @property
    def in_offer(self) -> bytes:
        return b"AGENT:" + self.public_key.blob.hex().encode()

    def _sign(self, data: bytes, deadline: DirectDeadline) -> bytes:
        try:
            reply = _ask_agent(self._path, sign_request(self.public_key, data), deadline)
            return signature_of(self._path, self.public_key, reply)
        except (AgentError, OSError):
            raise NotDirectError from None


class _KeyInFile(LoginKey):
    """`seed` is the private key; None if this is not an unencrypted Ed25519 key. Then the public key may be unknown."""

    def __init__(self, path: str, public_key: PublicKey | None, seed: bytes | None, *, encrypted: bool) -> None:
        known = public_key or PublicKey("", path.encode(errors="surrogateescape"))
        super().__init__(known, f"{path} ({known.fingerprint})")
        self.encrypted = encrypted
        self.usable = seed is not None
        self._path = path
        self._seed = seed

    @property
    def in_offer(self) -> bytes:
        return b"FILE:" + absolute(os.fsencode(self._path))

    def _sign(self, data: bytes, deadline: DirectDeadline) -> bytes:
        assert self._seed is not None
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        private = Ed25519PrivateKey.from_private_bytes(self._seed)
        if private.public_key().public_bytes_raw() != self.public_key.point:
            raise NotDirectError
        return pack_string(sshformat.ED25519.encode()) + pack_string(private.sign(data))


def login_keys(
    named: Sequence[str],
    config: str,
    home: str | None,
    deadline: DirectDeadline,
    preferred: Sequence[str] = (),
    agent: str | None = None,
) -> Iterator[LoginKey]:
    """Yield the keys: the `named` files or, without any, `preferred` ones, those of the agent, of `config` and of
    `home`/.ssh. `agent` is the agent's socket, empty for none, unless it is the one of SSH_AUTH_SOCK.

    Raises NotDirectError at a key for which somebody would be asked, and at whatever is wrong with one.
    """
    in_agent = _agent_keys(os.environ.get("SSH_AUTH_SOCK") if agent is None else agent, deadline)
    tried: set[bytes] = set()
    for key in _named(named, in_agent) if named else _default(preferred, config, home, in_agent):
        if key.public_key.blob not in tried:
            tried.add(key.public_key.blob)
            if key.public_key.application is not None or (isinstance(key, _KeyInFile) and not key.usable):
                raise NotDirectError  # somebody has to be told to touch it, or asked for a passphrase
            if isinstance(key, _KeyInFile):
                # Needed for a signature, and loaded while the service answers the hello.
                import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401
            yield key


def _named(paths: Sequence[str], in_agent: dict[bytes, LoginKey]) -> Iterator[LoginKey]:
    for path in paths:
        try:
            only_public = is_public_key_file(path)
            public = read_public_key_file(path if only_public else f"{path}.pub")
        except IdentityError:
            raise NotDirectError from None
        if public is not None and public.blob in in_agent:
            yield in_agent[public.blob]
            continue
        try:
            file = None if only_public else _key_file(path)
        except IdentityError:
            file = None
        if file is None:
            raise NotDirectError
        yield in_agent.get(file.public_key.blob, file)


def _default(
    preferred: Sequence[str], config: str, home: str | None, in_agent: dict[bytes, LoginKey]
) -> Iterator[LoginKey]:
    own = _files([*preferred, *_usual_names(config)], in_agent)
    yield from (key for key in own if not (isinstance(key, _KeyInFile) and key.encrypted))
    usual = _files(_usual_names(f"{home}/.ssh"), in_agent) if home is not None else []
    yield from (key for key in usual if not isinstance(key, _KeyInFile))
    yield from sorted(in_agent.values(), key=lambda key: key.public_key.application is not None)
    yield from own
    yield from usual


def _usual_names(where: str) -> list[str]:
    return [f"{where}/{name}" for name in _DEFAULT_NAMES]


def _files(paths: Sequence[str], in_agent: dict[bytes, LoginKey]) -> list[LoginKey]:
    found: list[LoginKey] = []
    for path in paths:
        if in_agent:
            try:
                public = read_public_key_file(f"{path}.pub")
            except IdentityError:
                public = None
            if public is not None and public.blob in in_agent:
                found.append(in_agent[public.blob])
                continue
        try:
            file = _key_file(path)
        except IdentityError:
            continue  # if no other key is accepted, the asyncio client says what is wrong with it
        if file is not None:
            found.append(in_agent.get(file.public_key.blob, file))
    return found


def _key_file(path: str) -> LoginKey | None:
    """Return the key in a private key file; None if there is no file. Raises `IdentityError` if it cannot be used."""
    try:
        data = read_small_file(path, MAX_IDENTITY_FILE_SIZE, private=True)
        if data is None:
            return None
        body = openssh_body(data)
        if body is None:
            if b"PRIVATE KEY-----" not in data:
                raise IdentityError("no private key")
            return _KeyInFile(path, None, None, encrypted=b"ENCRYPTED" in data)
        container = read_container(body)
    except (SSHFormatError, ValueError):
        raise IdentityError("malformed") from None
    if container.public_key.application is not None:
        raise IdentityError("only the agent can use it")
    return _KeyInFile(path, container.public_key, ed25519_seed(container), encrypted=container.encrypted)


def _agent_keys(path: str | None, deadline: DirectDeadline) -> dict[bytes, LoginKey]:
    if not path:
        return {}
    try:
        reply = _ask_agent(path, LIST_REQUEST, deadline, min(LIST_TIMEOUT, deadline.left / 2))
        keys, _ = listed_keys(path, reply)
    except (AgentError, OSError):
        return {}  # as if there was none: if no other key is accepted, the asyncio client says what is wrong
    return {key.public_key.blob: _KeyInAgent(path, key) for key in keys}


def _ask_agent(path: str, request: bytes, deadline: DirectDeadline, seconds: float | None = None) -> bytes:
    """Return the answer of the agent. Raises OSError and `AgentError`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
        agent.setblocking(False)
        agent.connect(path)
        while request:
            try:
                request = request[agent.send(request) :]
            except BlockingIOError:
                _await_agent(agent, select.POLLOUT, deadline, seconds)
        size = answer_size(path, _read_exactly(agent, 4, deadline, seconds))
        return _read_exactly(agent, size, deadline, seconds)


def _read_exactly(agent: socket.socket, size: int, deadline: DirectDeadline, seconds: float | None) -> bytes:
    data = b""
    while len(data) < size:
        _await_agent(agent, select.POLLIN, deadline, seconds)
        received = agent.recv(size - len(data))
        if not received:
            raise ConnectionResetError
        data += received
    return data


def _await_agent(agent: socket.socket, events: int, deadline: DirectDeadline, seconds: float | None) -> None:
    if not deadline.wait(agent.fileno(), events, seconds):
        raise TimeoutError
