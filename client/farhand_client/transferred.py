"""What a transfer has done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from farhand_files.events import Trouble

_Name: TypeAlias = bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Transferred:
    """What a transfer has done, over all of its attempts. With `dry_run`, what it would have done."""

    files: int = 0
    """Regular files that are in place because of it."""
    bytes: int = 0
    """The sizes of these files in all."""
    sent: int = 0
    """Bytes of content that went over the connection."""
    kept: int = 0
    """Bytes of these files that the receiving side had already."""
    skipped: int = 0
    """Files that were up to date."""
    others: int = 0
    """Directories, symbolic and hard links that were made."""
    deleted: int = 0
    """Paths that were deleted."""
    failed: int = 0
    """Files, directories and links that could not be read or written."""
    digests: Mapping[_Name, str] = field(default_factory=dict)
    """The BLAKE3 digests of the first `MAX_REPORTED_DIGESTS` files in hexadecimal, by path (as in the events)."""
    sha256: Mapping[_Name, str] = field(default_factory=dict)
    """The same for SHA-256, if it was requested."""
    seconds: float = 0.0
    """How long it took."""
    errors: tuple[Trouble, ...] = ()
    """What failed, and why: the first `MAX_REPORTED_ERRORS`."""
    more_errors: int = 0
    """How many errors there were beyond those."""

    @property
    def digest(self) -> str:
        """The BLAKE3 digest of the file in hexadecimal, if there was one file; else empty."""
        return next(iter(self.digests.values())) if len(self.digests) == 1 else ""
