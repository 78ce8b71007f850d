"""A blocking client that is as small as possible, so that one process holds ten thousand of them."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, Self, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from farhand_client.trust.certificate import service_key
from farhand_protocol import login
from farhand_protocol import messages as m
from farhand_protocol.connection import Connection
from farhand_protocol.events import ConnectionFailed, Event, MessageReceived
from farhand_protocol.sshformat import pack_string, parse_public_key_line
from farhand_protocol.states import Side

TIMEOUT = 30.0
"""Seconds for anything awaited from the service."""

Kind = TypeVar("Kind", bound=m.Message)
Result = TypeVar("Result")


class Key:
    """An ed25519 key that signs at once."""

    def __init__(self, path: Path) -> None:
        private = load_ssh_private_key(path.read_bytes(), None)
        assert isinstance(private, Ed25519PrivateKey)
        self._private = private
        self.blob = parse_public_key_line(path.with_name(path.name + ".pub").read_text())[0].blob

    def sign(self, transcript: bytes) -> bytes:
        """Return the SSHSIG over a login's transcript."""
        value = self._private.sign(login.sshsig_signed_data(transcript, login.LOGIN_NAMESPACE))
        signature = pack_string(b"ssh-ed25519") + pack_string(value)
        return login.encode_sshsig(self.blob, login.LOGIN_NAMESPACE, signature)


@cache
def context() -> ssl.SSLContext:
    """Return TLS without a check of the certificate: the login binds the service's key."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.set_alpn_protocols(["farhand/1"])
    return made


class RefusedError(Exception):
    """The service refused the login or ended the connection."""


Place = Literal["hello", "proof", "to the service", "to the client"]
"""Where bytes of a login can be changed: the client's two messages inside TLS, and both directions outside it."""


class Flip(NamedTuple):
    """One bit to change, counted from the first of its place."""

    place: Place
    bit: int


class RawTLSClient:
    """One connection to a service over TLS, logged in after `log_in`."""

    def __init__(
        self, address: tuple[str, int], *, source: str = "", timeout: float = TIMEOUT, flip: Flip | None = None
    ) -> None:
        self.connection = Connection(Side.CLIENT)
        self.sizes: dict[Place, int] = {"hello": 0, "proof": 0, "to the service": 0, "to the client": 0}
        """The bytes so far at each place."""
        self._flip = flip
        self._until = time.monotonic() + timeout
        self._timeout = timeout
        self._events: list[Event] = []
        self._arrived, self._departing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context().wrap_bio(self._arrived, self._departing)
        self._socket = socket.create_connection(address, timeout, source_address=(source, 0) if source else None)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._complete(self._tls.do_handshake)
        except BaseException:
            self._socket.close()
            raise
        certificate = self._tls.getpeercert(binary_form=True)
        assert certificate is not None
        self.spki_sha256 = service_key(certificate).spki_sha256

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def log_in(self, user: str, key: Key) -> m.Accepted:
        """Log in. Raises RefusedError, OSError."""
        hello = m.Hello(
            versions=(1,),
            software="campaign",
            limits=self.connection.announced_limits,
            user=user,
            server="127.0.0.1",
            nonce=os.urandom(32),
        )
        self.connection.send(0, hello)
        self.flush("hello")
        welcome = self.receive(m.Welcome)
        transcript = login.login_transcript(
            spki_sha256=self.spki_sha256,
            server_nonce=welcome.nonce,
            client_nonce=hello.nonce,
            server_name="127.0.0.1",
            user=user,
            hello_sha256=hashlib.sha256(self.connection.hello_frame).digest(),
            public_key=key.blob,
        )
        self.connection.send(0, m.Login(public_key=key.blob, signature=key.sign(transcript)))
        self.flush("proof")
        return self.receive(m.Accepted)

    def flush(self, place: Place | None = None) -> None:
        """Send what is queued."""
        data = b"".join(self.connection.data_to_send())
        if data:
            data = self._changed(place, data) if place else data
            self._complete(lambda: self._tls.write(data))

    def receive(self, kind: type[Kind], channel: int = 0) -> Kind:
        """Wait for a message of this kind on a channel. Raises RefusedError, OSError."""
        self._until = time.monotonic() + self._timeout
        while True:
            for event in self._events:
                if isinstance(event, ConnectionFailed):
                    raise RefusedError(str(event.error))
                if not isinstance(event, MessageReceived) or event.channel != channel:
                    continue
                if isinstance(event.message, kind):
                    self._events.remove(event)
                    return event.message
                if isinstance(event.message, m.Error | m.Refused):
                    raise RefusedError(repr(event.message))
            data = self._complete(lambda: self._tls.read(1 << 16))
            if not data:
                raise RefusedError("the service closed the connection")
            self._events += self.connection.receive_data(data)
            self.flush()

    def close(self) -> None:
        """Close the connection without waiting for the service."""
        self._socket.close()

    def _complete(self, step: Callable[[], Result]) -> Result:
        """Do one step of TLS, with as many exchanges as it takes."""
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._send()
                self._socket.settimeout(max(0.01, self._until - time.monotonic()))
                data = self._socket.recv(1 << 16)
                if not data:
                    raise RefusedError("the service closed the connection") from None
                self._arrived.write(self._changed("to the client", data))
            else:
                self._send()
                return result

    def _send(self) -> None:
        if data := self._departing.read():
            self._socket.sendall(self._changed("to the service", data))

    def _changed(self, place: Place, data: bytes) -> bytes:
        """Count the bytes, and change the bit that is to be changed if it is among them."""
        begin = self.sizes[place]
        self.sizes[place] += len(data)
        if self._flip is not None and self._flip.place == place:
            at, bit = divmod(self._flip.bit, 8)
            if begin <= at < begin + len(data):
                changed = bytearray(data)
                changed[at - begin] ^= 1 << bit
                return bytes(changed)
        return data
