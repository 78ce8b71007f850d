"""The .pub files of keys."""

from __future__ import annotations

from farhand_client.trust import IdentityError
from farhand_client.trust.files import read_small_file
from farhand_protocol import sshformat
from farhand_protocol.sshformat import PublicKey, SSHFormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Final

MAX_IDENTITY_FILE_SIZE: Final = 64 * 1024
"""Bytes; an RSA key of 8192 bits takes 6.5 KB."""

PUBLIC_KEY_LINES: Final = (b"ssh-", b"ecdsa-", b"sk-")
"""How the type of a key begins, in a .pub file."""


def read_public_key_file(path: Path | str) -> PublicKey | None:
    """Return the key in a .pub file, or None if there is no file. Raises IdentityError if it is not a public key."""
    try:
        data = read_small_file(path, MAX_IDENTITY_FILE_SIZE)
        if data is None:
            return None
        if b"PRIVATE KEY-----" in data:
            raise IdentityError(f"{path} is a private key file, whose name must not end with .pub")
        if b"-cert-v01@openssh.com " in data:
            raise IdentityError(
                f"{path} is an OpenSSH certificate, which Farhand does not support; name the key itself"
            )
        return sshformat.parse_public_key_line(data.decode(errors="replace"))[0]
    except SSHFormatError as error:
        raise IdentityError(f"{path} is not a public key file: {error}") from None
    except ValueError as error:
        raise IdentityError(str(error)) from None


def is_public_key_file(path: Path | str) -> bool:
    """Return whether a file is to be read by `read_public_key_file`: by its name or, as with ssh, by what is in it."""
    if str(path).endswith(".pub"):
        return True
    try:
        data = read_small_file(path, MAX_IDENTITY_FILE_SIZE)
    except ValueError:
        return False  # reading it as a private key will say why
    return data is not None and data.startswith(PUBLIC_KEY_LINES)
