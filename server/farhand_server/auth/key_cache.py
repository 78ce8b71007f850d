"""Remembers parsed authorized_keys files, so that a login attempt costs the same whatever the file's length."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Final

from farhand_protocol.sshformat import PublicKey
from farhand_server.credentials import Credentials
from farhand_server.worker.keyfile import FileIdentity, KeyFileContents

from .authorized_keys import AuthorizedKey, RefusedLine, parse_authorized_keys

MAX_CACHED_BYTES: Final = 4 << 20
"""Bytes of all files that are remembered. Parsed they take about eight times as much, 32 MiB: the keys of thousands of
users, or of the eight largest files. Beyond that, those not used for the longest time are forgotten."""

SETTLING_TIME_NS: Final = 2_000_000_000
"""Nanoseconds after its last change for which a file is not remembered. Two changes within a tick of the kernel's clock
(up to 10 ms, and 2 s on FAT) may leave the same time in the inode, and a removed key must not log in again."""

MAX_REFUSED_LINES: Final = 10
"""Refused lines of a file that are remembered: as many as one line of the log shows."""


@dataclass(frozen=True, slots=True)
class KeyIndex:
    """The lines of a file, by their key."""

    lines: Mapping[bytes, tuple[AuthorizedKey, ...]]
    refused: tuple[RefusedLine, ...]
    size: int

    def lines_with(self, key: PublicKey) -> tuple[AuthorizedKey, ...]:
        """Return the lines with a key, in order."""
        return self.lines.get(key.blob, ())


_Remembered = tuple[Credentials | None, FileIdentity]


@dataclass(frozen=True, slots=True)
class _KnownTo(Container[FileIdentity]):
    """The files that one reader has read."""

    reader: Credentials | None
    files: Container[_Remembered]

    def __contains__(self, identity: object) -> bool:
        return (self.reader, identity) in self.files


class KeyCache:
    """The files parsed so far, by who has read them (None: the service) and by their identity.

    The reader counts, because the identity is what a user's worker says: one that lies must not replace another
    account's keys. The methods may be called from several threads: each step is one operation on the dictionary, and
    two threads that parse the same file get the same result.
    """

    def __init__(self) -> None:
        self._files: OrderedDict[_Remembered, KeyIndex] = OrderedDict()

    def __len__(self) -> int:
        return len(self._files)

    def known_to(self, reader: Credentials | None) -> Container[FileIdentity]:
        """Return the files that need not be read again for this reader."""
        return _KnownTo(reader, self._files)

    def get(self, reader: Credentials | None, identity: FileIdentity) -> KeyIndex | None:
        """Return what a file was parsed to, if it has not changed since."""
        found = self._files.get((reader, identity))
        if found is not None:
            with contextlib.suppress(KeyError):  # another thread may have just removed it
                self._files.move_to_end((reader, identity))
        return found

    def parse(self, reader: Credentials | None, contents: KeyFileContents, now_ns: int) -> KeyIndex:
        """Parse a file that was read, at `now_ns` (nanoseconds since 1970), and remember it.

        Raises AuthorizedKeysError for a file that cannot be used as a whole, and ValueError for one that was not read.
        """
        if contents.data is None:
            raise ValueError("the file was not read")
        index = _index(contents.data)
        if contents.identity.changed_ns + SETTLING_TIME_NS < now_ns:
            self._files[reader, contents.identity] = index
            while sum(file.size for file in tuple(self._files.values())) > MAX_CACHED_BYTES:
                self._files.popitem(last=False)
        return index


def _index(data: bytes) -> KeyIndex:
    parsed = parse_authorized_keys(data)
    lines: dict[bytes, list[AuthorizedKey]] = {}
    for line in parsed.keys:
        lines.setdefault(line.key.blob, []).append(line)
    return KeyIndex(
        {key: tuple(found) for key, found in lines.items()}, parsed.refused[:MAX_REFUSED_LINES], max(len(data), 1024)
    )
