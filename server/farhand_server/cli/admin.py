"""`farhandd host-key` and `farhandd authorize`: the key the service is known by, and the keys it lets in."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from farhand_server.audit import BrokenChain, verify_files, verify_state
from farhand_server.auth.accounts import own_account
from farhand_server.auth.authorized_keys import MAX_KEY_FILE, AuthorizedKeysError, parse_authorized_keys
from farhand_server.config import ServiceConfig
from farhand_server.hostkey import HostKeyFileError, ensure

from .main import CommandFailed


def host_key(config: ServiceConfig) -> int:
    """Show the public host key and its fingerprint; make the key where there is none."""
    try:
        key = ensure(config.state_dir)
    except (HostKeyFileError, OSError) as error:
        raise CommandFailed(f"no host key: {error}") from None
    print(key.public_line)
    print(key.fingerprint)
    return 0


def authorize(config: ServiceConfig, source: str) -> int:
    """Add the public keys in `source` to the first of the own account's authorized_keys files, each once."""
    own = own_account(config.login.authorized_keys)
    if not own.key_files:
        raise CommandFailed("login.authorized_keys names no file to add a key to")
    target = own.key_files[0]
    data = _read(source)
    lines = _keys(data, source)
    present = _present(target)
    new = {blob: line for blob, _, line in lines if blob not in present}
    try:
        _append(target, list(new.values()))
    except OSError as error:
        raise CommandFailed(f"{target}: cannot be written: {error.strerror}; nothing was added") from None
    for blob, fingerprint in {blob: fingerprint for blob, fingerprint, _ in lines}.items():
        if blob in new:
            print(f"{fingerprint} may now log in as {own.user}")
        else:
            print(f"{fingerprint} is authorized already")
    print(f"{len(new)} added to {target}")
    return 0


def _append(target: Path, lines: list[bytes]) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    # O_APPEND, and one write for all lines: beside whoever else adds some.
    with open(descriptor, "ab") as file:  # noqa: PTH123  # a descriptor, not a path
        unfinished = file.tell() and not target.read_bytes().endswith(b"\n")
        file.write((b"\n" if unfinished else b"") + b"".join(line + b"\n" for line in lines))


def _read(source: str) -> bytes:
    try:
        with sys.stdin.buffer if source == "-" else Path(source).open("rb") as file:
            return file.read(MAX_KEY_FILE + 1)
    except OSError as error:
        raise CommandFailed(f"{source}: cannot be read: {error.strerror}") from None


def _keys(data: bytes, source: str) -> list[tuple[bytes, str, bytes]]:
    if b"PRIVATE_KEY_FILE KEY-----" in data[:200]:
        raise CommandFailed(f"{source}: this is a private key; the public one is in the file whose name ends in .pub")
    try:
        parsed = parse_authorized_keys(data)
    except AuthorizedKeysError as error:
        raise CommandFailed(f"{source}: {error}") from None
    if parsed.refused:
        first = parsed.refused[0]
        raise CommandFailed(f"{source}: line {first.line}: {first.reason}; nothing was added")
    if not parsed.keys:
        raise CommandFailed(f"{source}: there is no public key in it")
    text = data.split(b"\n")
    return [(key.key.blob, key.key.fingerprint, text[key.line - 1].strip()) for key in parsed.keys]


def _present(target: Path) -> set[bytes]:
    try:
        return {key.key.blob for key in parse_authorized_keys(target.read_bytes()).keys}
    except FileNotFoundError:
        return set()
    except (OSError, AuthorizedKeysError) as error:
        raise CommandFailed(f"{target}: {error}; mend it first") from None


def verify(config: ServiceConfig, files: Sequence[Path]) -> int:
    """Check `files`, or all of the state directory's; say what was found. Exit code 1 where the chain is broken."""
    try:
        whole = verify_files(files) if files else verify_state(config.state_dir)
    except BrokenChain as error:
        raise CommandFailed(f"the audit log is broken: {error}") from None
    except OSError as error:
        told = f"{error.filename}: cannot be read: {error.strerror}" if error.filename else str(error)
        raise CommandFailed(told) from None
    print(f"{whole.entries} entries, chain whole")
    if whole.entries:
        print(f"from entry {whole.first} to {whole.last.seq}, hash {whole.last.hash}")
    return 0
