"""A blocking client that is as small as possible, so that one process holds ten thousand of them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import ssl
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Self, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from farhand_client.trust.certificate import service_key
from farhand_protocol import login
from farhand_protocol import messages as m
from farhand_protocol.connection import Connection, ConnectionFailed, Event, MessageReceived
from farhand_protocol.sshformat import pack_string, parse_public_key_line
from farhand_protocol.states import Side

TIMEOUT = 30.0
"""Seconds for anything awaited from the service."""

Kind = TypeVar("Kind", bound=m.Message)


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


class RawTLSClient:
    """One connection to a service over TLS, logged in after `log_in`."""

    def __init__(self, address: tuple[str, int], *, source: str = "") -> None:
        self.connection = Connection(Side.CLIENT)
        plain = socket.create_connection(address, TIMEOUT, source_address=(source, 0) if source else None)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket = context().wrap_socket(plain)
        except OSError:
            plain.close()
            raise
        certificate = self.socket.getpeercert(binary_form=True)
        assert certificate is not None
        self.spki_sha256 = service_key(certificate).spki_sha256
        self._events: list[Event] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def log_in(self, user: str, key: Key, *, changed: Callable[[int, bytes], bytes] | None = None) -> m.Accepted:
        """Log in. `changed` may alter what is sent: it gets the number of the message, 0 or 1, and its bytes."""
        hello = m.Hello(
            versions=(1,),
            software="campaign",
            limits=self.connection.announced_limits,
            user=user,
            server="127.0.0.1",
            nonce=os.urandom(32),
        )
        self.connection.send(0, hello)
        self.flush(changed and (lambda data: changed(0, data)))
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
        self.flush(changed and (lambda data: changed(1, data)))
        return self.receive(m.Accepted)

    def flush(self, changed: Callable[[bytes], bytes] | None = None) -> None:
        """Send what is queued."""
        data = b"".join(self.connection.data_to_send())
        self.socket.sendall(changed(data) if changed else data)

    def receive(self, kind: type[Kind], channel: int = 0) -> Kind:
        """Wait for a message of this kind on a channel. Raises RefusedError, OSError."""
        until = time.monotonic() + TIMEOUT
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
            self.socket.settimeout(max(0.01, until - time.monotonic()))
            data = self.socket.recv(1 << 16)
            if not data:
                raise RefusedError("the service closed the connection")
            self._events += self.connection.receive_data(data)
            self.flush()

    def close(self) -> None:
        """Close the connection without waiting for the service."""
        with contextlib.suppress(OSError):
            self.socket.close()
