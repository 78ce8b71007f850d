"""The commands that need no running service: `check`, `example`, `host-key`, `authorize` and
`audit verify`."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

from farhand_protocol.sshformat import parse_public_key
from farhand_server.auth.accounts import own_account
from farhand_server.auth.authorized_keys import (
    MAX_KEY_FILE,
    MAX_KEY_LINE,
    AuthorizedKeysError,
    parse_authorized_keys,
)
from farhand_server.config import effective_toml
from farhand_server.config.origin import site_name

from .command import configuration
from .report import CommandFailed, flush_streams, print_result

if TYPE_CHECKING:
    from farhand_server.audit import ChainAnchor

_KEY: Final = re.compile(r"(^|\s)(ssh|ecdsa|sk)-\S+ AAAA")
"""How a key in an argument is told from a file's name: a key's type, and the beginning of every key in base64."""


def check(options: argparse.Namespace) -> int:
    """Validate configuration and policy, and print the configuration that applies."""
    from farhand_server.policy import policy_in_force

    config = configuration(options)
    policy_in_force(config.policy)
    print_result(effective_toml(config).rstrip("\n"))
    return 0


def example(options: argparse.Namespace) -> int:
    """Print the example of the configuration or the policy that is installed with the program."""
    package, name = {"config": ("config", "farhandd.toml"), "policy": ("policy", "policy.toml")}[options.file]
    print_result((resources.files(f"farhand_server.{package}") / name).read_text("utf-8").rstrip("\n"))
    return 0


def host_key(options: argparse.Namespace) -> int:
    """Print the public host key and its fingerprint. Create the key if there is none."""
    from farhand_server.hostkey import HostKeyFileError, ensure_host_key

    config = configuration(options)
    try:
        key = ensure_host_key(config.state_dir)
    except (HostKeyFileError, OSError) as error:
        raise CommandFailed(f"no host key: {error}") from None
    print_result(key.public_line)
    print_result(key.fingerprint)
    return 0


def authorize(options: argparse.Namespace) -> int:
    """Add the public keys in a file or an argument to this account's first authorized_keys file, skipping keys that are
    already in it."""
    config = configuration(options)
    own = own_account(config.login.authorized_keys)
    if not own.key_files:
        raise CommandFailed("login.authorized_keys names no file to add a key to")
    target = own.key_files[0]
    if options.passkey:
        lines = _pasted_passkey(config.web.origin, own.user)
    else:
        lines = [line for data, source in _sources(options.keys) for line in _key_lines(data, source)]
    present = _present_keys(target)
    new = {blob: line for blob, _, line in lines if blob not in present}
    try:
        _append(target, list(new.values()))
    except OSError as error:
        raise CommandFailed(f"{target}: cannot be written: {error.strerror}; nothing was added") from None
    for blob, fingerprint in {blob: fingerprint for blob, fingerprint, _ in lines}.items():
        if blob in new:
            print_result(f"{fingerprint} may now log in as {own.user}")
        else:
            print_result(f"{fingerprint} is already authorized")
    print_result(f"{len(new)} added to {target}")
    return 0


def verify_audit(options: argparse.Namespace) -> int:
    """Check the given audit log files, or all of the state directory's, and print the result."""
    from farhand_server.audit import BrokenChain, verify_files, verify_state

    config = configuration(options)
    try:
        chain = verify_files(options.files) if options.files else verify_state(config.state_dir)
    except BrokenChain as error:
        raise CommandFailed(f"the audit log is broken: {error}") from None
    except OSError as error:
        sentence = f"{error.filename}: cannot be read: {error.strerror}" if error.filename else str(error)
        raise CommandFailed(sentence) from None
    print_result(f"{chain.entries} entries, chain unbroken")
    if chain.entries:
        print_result(f"from entry {chain.first} to {chain.last.seq}, hash {chain.last.hash}")
    if chain.first > 1 and not options.files:
        _report_deleted(chain.first, chain.anchor, config.audit.keep_for)
    return 0


def _report_deleted(first: int, anchor: ChainAnchor | None, keep_for: float) -> None:
    """Print what came before the first entry. Raises `CommandFailed` if it should still be there."""
    from farhand_server.audit.entry import timestamp

    if anchor is None:
        print_result(f"entries 1 to {first - 1} were deleted by rotation; nothing else is known about them")
        return
    print_result(
        f"entries 1 to {anchor.place.seq} were deleted by rotation, the last of them at "
        f"{timestamp(anchor.dropped_at)}; that was of {timestamp(anchor.time)}, hash {anchor.place.hash}"
    )
    if anchor.time > time.time() - keep_for:
        raise CommandFailed(
            f"entries are missing that audit.keep_for ({keep_for:g} s) promises, up to {anchor.place.seq} of "
            f"{timestamp(anchor.time)}; raise audit.keep or audit.max_size"
        )


def _append(target: Path, lines: list[bytes]) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    # Use O_APPEND and one write for all lines, because another process may append at the same time.
    with open(descriptor, "ab") as file:  # noqa: PTH123  # a descriptor, not a path
        unfinished = file.tell() and not target.read_bytes().endswith(b"\n")
        file.write((b"\n" if unfinished else b"") + b"".join(line + b"\n" for line in lines))


def _sources(arguments: list[str]) -> list[tuple[bytes, str]]:
    """Return what the arguments hold and its name in errors: the contents of files, or one key, which a shell may have
    split at its blanks."""
    key = " ".join(arguments)
    if _KEY.search(key) and not any(Path(argument).exists() for argument in arguments):
        return [(os.fsencode(key), "the given key")]
    return [(_read(argument), argument) for argument in arguments]


def _read(source: str) -> bytes:
    try:
        with sys.stdin.buffer if source == "-" else Path(source).open("rb") as file:
            return file.read(MAX_KEY_FILE + 1)
    except OSError as error:
        raise CommandFailed(f"{source}: cannot be read: {error.strerror}") from None


def _key_lines(data: bytes, source: str) -> list[tuple[bytes, str, bytes]]:
    """Return blob, fingerprint and line of each key in `data`. Raises `CommandFailed` for anything else in it."""
    if b"PRIVATE KEY-----" in data[:200]:
        raise CommandFailed(f"{source}: this is a private key; the public key is in the file whose name ends in .pub")
    try:
        parsed = parse_authorized_keys(data)
    except AuthorizedKeysError as error:
        raise CommandFailed(f"{source}: {error}") from None
    if parsed.refused:
        first = parsed.refused[0]
        raise CommandFailed(f"{source}: line {first.line}: {first.reason}; nothing was added")
    if not parsed.keys:
        raise CommandFailed(f"{source}: contains no public key")
    text = data.split(b"\n")
    return [(key.key.blob, key.key.fingerprint, text[key.line - 1].strip()) for key in parsed.keys]


def _pasted_passkey(origin: str | None, user: str) -> list[tuple[bytes, str, bytes]]:
    """Say how to make a passkey, and return the key in the line that is pasted then, as `_key_lines` does."""
    if origin is None:
        raise CommandFailed("passkeys belong to a site: set web.origin in the configuration first")
    print_result(f'open {origin}/ in the browser, enter the user {user}, and press "Make a passkey";')
    print_result("then paste the line that the page shows:")
    flush_streams()
    pasted = sys.stdin.buffer.readline(MAX_KEY_LINE + 1)
    if not pasted.strip():
        raise CommandFailed("no line was pasted; nothing was added")
    lines = _key_lines(pasted, "the line")
    key = parse_public_key(lines[0][0])
    if key.application != site_name(origin).encode():
        raise CommandFailed(f"the line: this is no passkey of {site_name(origin)}; nothing was added")
    return lines


def _present_keys(target: Path) -> set[bytes]:
    try:
        return {key.key.blob for key in parse_authorized_keys(target.read_bytes()).keys}
    except FileNotFoundError:
        return set()
    except (OSError, AuthorizedKeysError) as error:
        raise CommandFailed(f"{target}: {error}; repair it first") from None
