"""`farhandd audit verify`: whether the audit log is whole, or where it is broken."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from farhand_server.audit import Broken, verify_files, verify_state
from farhand_server.config import Config

from .main import CommandFailed


def verify(config: Config, files: Sequence[Path]) -> int:
    """Check `files`, or all of the state directory's; say what was found. Exit code 1 where the chain is broken."""
    try:
        whole = verify_files(files) if files else verify_state(config.state_dir)
    except Broken as error:
        raise CommandFailed(f"the audit log is broken: {error}") from None
    except OSError as error:
        told = f"{error.filename}: cannot be read: {error.strerror}" if error.filename else str(error)
        raise CommandFailed(told) from None
    print(f"{whole.entries} entries, chain whole")
    if whole.entries:
        print(f"from entry {whole.first} to {whole.last.seq}, hash {whole.last.hash}")
    return 0
