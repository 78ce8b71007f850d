"""An Ed25519 key as TLS shows it (SubjectPublicKeyInfo, RFC 8410) and as SSH shows it (RFC 8709)."""

from farhand_protocol.sshwire import ED25519, PublicKey, SSHFormatError, pack_string, parse_public_key

# RFC 8410 section 4 and 10.1: SEQUENCE { SEQUENCE { OID 1.3.101.112 }, BIT STRING of 32 bytes }.
_ED25519_SPKI = bytes.fromhex("302a300506032b6570032100")


def host_key_from_spki(spki: bytes) -> PublicKey:
    """The SSH public key in a DER SubjectPublicKeyInfo. Raises SSHFormatError for any but an Ed25519 key."""
    prefix, point = spki[: len(_ED25519_SPKI)], spki[len(_ED25519_SPKI) :]
    if prefix != _ED25519_SPKI or len(point) != 32:
        raise SSHFormatError("the certificate's key is not an Ed25519 key")
    return parse_public_key(pack_string(ED25519.encode()) + pack_string(point))


def spki_from_host_key(key: PublicKey) -> bytes:
    """The DER SubjectPublicKeyInfo of an SSH public key. Raises SSHFormatError for any but an Ed25519 key."""
    if key.type != ED25519:
        raise SSHFormatError(f"the host key is of type {key.type}; it must be {ED25519}")
    return _ED25519_SPKI + key.point
