"""Signatures of passkeys: what OpenSSH calls `webauthn-sk-ecdsa-sha2-nistp256@openssh.com`. Without I/O.

A browser does not let a page sign what it likes. It signs a text of its own, the client data, with what the page asked
for (the challenge) and where the page came from (the origin) at fixed places, so that no JSON needs to be parsed:

    {"type":"webauthn.get","challenge":"BASE64URL","origin":"https://farhand.example.net","crossOrigin":false…}

The checks are those of OpenSSH's `ssh-ecdsa-sk.c`, and three more: OpenSSH takes any origin, here only the site's own
is accepted; the key's application must be the site's name; and the page may not be framed by another origin's.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final, NamedTuple

from farhand_protocol.sshformat import Reader

WEBAUTHN_ECDSA: Final = "webauthn-sk-ecdsa-sha2-nistp256@openssh.com"
"""The name of the signature, not of the key: the key is an ordinary `sk-ecdsa-sha2-nistp256@openssh.com`."""

USER_PRESENT: Final = 0x01
USER_VERIFIED: Final = 0x04
"""The authenticator was touched; it has checked who touched it, by a PIN or a finger (WebAuthn, section 6.1)."""

_ATTESTED: Final = 0x40
_EXTENDED: Final = 0x80
"""Attested credential data follows, which only the making of a key has; extensions follow."""

_CROSS_ORIGIN: Final = b',"crossOrigin":true'
"""What follows the origin if the page is in a frame of another origin (WebAuthn, section 5.8.1.1)."""


class PasskeySite(NamedTuple):
    """The site whose passkeys log in here."""

    origin: str
    """Scheme, name and port as browsers write them (RFC 6454, section 6.1), such as `https://farhand.example.net`."""
    name: str
    """The relying party's id, which is the application of the site's keys: the origin's host name."""


class PasskeyRefused(Exception):
    """A passkey's signature is not for this site or this login. The message is for the log."""


class AuthenticatorData(NamedTuple):
    """What an authenticator says about a signature, and signs with it."""

    flags: int
    counter: int
    extensions: bytes = b""
    """The extensions' outputs in CBOR, as the authenticator has signed them. Nobody here needs to read them."""


def read_client_data(reader: Reader, flags: int, message: bytes, site: PasskeySite | None) -> tuple[bytes, bytes]:
    """Read and check what follows the counter in a passkey's signature over `message`.

    Returns the extensions and the client data, whose SHA-256 is signed in place of the message's. Raises
    `PasskeyRefused`, and `SSHFormatError` for what is malformed.
    """
    origin, client_data, extensions = reader.string(), reader.string(), reader.string()
    if site is None:
        raise PasskeyRefused("passkeys log in only through the web door, at web.origin")
    if origin != site.origin.encode():
        raise PasskeyRefused(f"the passkey was used at {_shown(origin)}, and not at {site.origin}")
    if flags & _ATTESTED:
        raise PasskeyRefused("the passkey's flags say that attested data follows, which no signature has")
    if bool(flags & _EXTENDED) != bool(extensions):
        raise PasskeyRefused("the passkey's flags and extensions contradict each other")
    expected = client_data_beginning(message, site.origin)
    if not client_data.startswith(expected):
        raise PasskeyRefused("the passkey has signed another challenge, or elsewhere")
    rest = client_data[len(expected) :]
    if not rest.startswith((b",", b"}")):
        raise PasskeyRefused("the passkey's client data is malformed after the origin")
    if rest.startswith(_CROSS_ORIGIN):
        raise PasskeyRefused("the passkey was used in a frame of another site")
    return extensions, client_data


def client_data_beginning(message: bytes, origin: str) -> bytes:
    """Return how the client data begins that a browser signs for `message` at `origin`."""
    challenge = base64.urlsafe_b64encode(message).rstrip(b"=")
    return b'{"type":"webauthn.get","challenge":"' + challenge + b'","origin":"' + origin.encode() + b'"'


def check_application(application: bytes, site: PasskeySite) -> None:
    """Raise `PasskeyRefused` unless a key is one of the site's."""
    if application != site.name.encode():
        raise PasskeyRefused(f"the passkey belongs to {_shown(application)}, and not to {site.name}")


def signed_data(application: bytes, data: AuthenticatorData, signed: bytes) -> bytes:
    """Return the bytes that an authenticator signs for `signed`: the message, or a browser's client data."""
    return b"".join(
        (
            hashlib.sha256(application).digest(),
            bytes((data.flags,)),
            data.counter.to_bytes(4, "big"),
            data.extensions,
            hashlib.sha256(signed).digest(),
        )
    )


def _shown(name: bytes) -> str:
    return repr(name.decode("ascii", "backslashreplace")[:200])
