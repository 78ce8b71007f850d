"""The public keys that this client offers at a login, so that they can be authorized on the other machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from farhand_client.config import config_directory, home_directory
from farhand_client.errors import AuthenticationError
from farhand_client.trust import AgentError, IdentityError
from farhand_client.trust.agent import Agent
from farhand_client.trust.identities import default_key_files
from farhand_client.trust.keyfile import SealedKeyFile, read_key_file
from farhand_client.trust.public_key_file import is_public_key_file, read_public_key_file
from farhand_protocol import sshformat
from farhand_protocol.sshformat import PublicKey

MAX_OFFERED: Final = 6
"""Keys that are authorized: a service tries no more on one connection (`login.attempts`)."""


async def offered_keys(named: Sequence[Path]) -> list[str]:
    """Return the keys as lines of an authorized_keys file: those in the `named` files, or else those of the ssh-agent
    and of the usual files, in this order.

    Raises `AuthenticationError` if there is none, and `IdentityError` for a named file that cannot be used.
    """
    if named:
        return [_line(_named(path), path.name) for path in named]
    found: dict[bytes, str] = {}
    problems = []
    for path in _usual_files():
        try:
            key = _public_key(path)
        except IdentityError as error:
            problems.append(str(error))
            continue
        if key is not None:
            found.setdefault(key.blob, _line(key, _comment(path)))
    agent = Agent.from_environment(os.environ)
    if agent is not None:
        try:
            usable, _ = await agent.keys()
        except AgentError as error:
            problems.append(str(error))
        else:
            for held in usable:
                found.setdefault(held.public_key.blob, _line(held.public_key, held.comment))
    if not found:
        why = f" ({'; '.join(problems)})" if problems else ""
        raise AuthenticationError(
            f"there is no key to authorize: none in the ssh-agent or in ~/.ssh{why}; make one: ssh-keygen -t ed25519"
        )
    return list(found.values())[:MAX_OFFERED]


def fingerprint_of(line: str) -> str:
    """Return the fingerprint of the key in a line."""
    return sshformat.parse_public_key_line(line)[0].fingerprint


def _usual_files() -> list[Path]:
    home = home_directory()
    return [*default_key_files(config_directory()), *(default_key_files(home / ".ssh") if home is not None else ())]


def _public_key(path: Path) -> PublicKey | None:
    """Return the public key of a key file, which need not be there; only its .pub file is used if it is sealed."""
    public = read_public_key_file(Path(f"{path}.pub"))
    if public is not None and path.exists():
        return public
    file = read_key_file(path)
    return None if file is None or isinstance(file, SealedKeyFile) else file.public_key


def _named(path: Path) -> PublicKey:
    key = read_public_key_file(path) if is_public_key_file(path) else _public_key(path)
    if key is None:
        missing = "no such file" if not path.exists() else f"its public key is not known; write it to {path}.pub"
        raise IdentityError(f"{path}: {missing}")
    return key


def _comment(path: Path) -> str:
    try:
        words = Path(f"{path}.pub").read_text(errors="replace").split(None, 2)
    except OSError:
        return path.name
    return words[2].strip() if len(words) > 2 else path.name


def _line(key: PublicKey, comment: str) -> str:
    shown = " ".join("".join(char if char.isprintable() else "?" for char in comment).split())
    return f"{sshformat.format_public_key_line(key)} {shown}".rstrip()
