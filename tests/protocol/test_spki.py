import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol import spki
from farhand_protocol.sshwire import SSHFormatError
from tests.support.openssh import SoftwareSecurityKey


def test_one_key_in_both_forms() -> None:
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    line = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    key = spki.host_key_from_spki(der)
    assert (key.type, key.point) == ("ssh-ed25519", public.public_bytes_raw())
    assert f"{key.type} ".encode() == line[:12]
    assert spki.spki_from_host_key(key) == der


def test_a_key_of_another_type_is_refused_either_way() -> None:
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(SSHFormatError, match="not an Ed25519 key"):
        spki.host_key_from_spki(other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(SSHFormatError, match="must be ssh-ed25519"):
        spki.spki_from_host_key(SoftwareSecurityKey.ed25519().public_key)


@given(st.binary(max_size=80))
def test_no_bytes_raise_anything_but_the_format_error(data: bytes) -> None:
    with pytest.raises(SSHFormatError):
        spki.host_key_from_spki(data)
