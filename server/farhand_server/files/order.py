"""What a transfer worker is told, and what it reports: both in one file without a name (memfd_create(2)).

The core makes the file with the order in it, the worker inherits its descriptor. Nothing of it is in the worker's
arguments or environment, which others can see, and it has no size limit worth mentioning. The beginning of the file is
for the worker's report, which the core reads once the run is over; so what a worker has done is also known if it was
killed, and the core waits for nothing. The size of the file is sealed: a worker, which belongs to its user by then, can
write into it what it wants, but neither enlarge nor truncate it. A report is believed like the user's own word.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import struct
from typing import Final, Literal, NamedTuple, Self, TypeAlias

from farhand_protocol.values import arguments_from_json, arguments_to_json

ORDER_VARIABLE: Final = "FARHAND_TRANSFER"
"""The environment variable with the number of the descriptor of the worker's `OrderFile`."""

WorkerAccess: TypeAlias = Literal["read", "write", "sweep"]

_REPORT: Final = struct.Struct(">B8Q64s")
"""Whether the transfer is over, the numbers of `TransferReport`, and the digest in hexadecimal."""

_SEALS: Final = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


class TransferReport(NamedTuple):
    """What a worker has done, with the words of `farhand_files.events.Totals`, whose `bytes` are `size` here.

    `complete` tells whether the transfer has come to its end; otherwise these are the files that were finished before.
    """

    complete: bool = False
    files: int = 0
    size: int = 0
    sent: int = 0
    kept: int = 0
    skipped: int = 0
    others: int = 0
    deleted: int = 0
    failed: int = 0
    digest: str = ""

    def pack(self) -> bytes:
        """Return the form in the file."""
        return _REPORT.pack(*self[:-1], self.digest.encode())

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """Return the report in a file. Raises ValueError if it is none."""
        if len(packed) != _REPORT.size:
            raise ValueError("a report of the wrong size")
        complete, *numbers, digest = _REPORT.unpack(packed)
        text = digest.rstrip(b"\0").decode("ascii", "replace")
        if complete > 1 or max(numbers) >= 1 << 63 or not re.fullmatch("(?:[0-9a-f]{64})?", text):
            raise ValueError("not the report of a transfer")
        return cls._make((complete == 1, *numbers, text))


class TransferIds(NamedTuple):
    """The user that the worker becomes."""

    uid: int
    gid: int
    groups: tuple[int, ...]


class TransferOrder(NamedTuple):
    """What the worker does: it reads or writes `paths`, and accepts no options that say otherwise; or it sweeps what
    transfers to `paths` have left before the time `before`, in seconds since 1970.

    `home` is where relative paths begin. `roots` are the only directories in which it opens anything, None for no such
    limit; below `writable`, where the user may put symbolic links, none of these is followed through one. `user` is
    None for the service's own account.
    """

    access: WorkerAccess
    paths: tuple[bytes, ...]
    home: bytes
    roots: tuple[bytes, ...] | None
    user: TransferIds | None
    writable: tuple[bytes, ...] = ()
    before: float = 0.0

    def located(self, path: bytes) -> bytes:
        """Return a path whose `~` is the home directory."""
        if path == b"~" or path.startswith(b"~/"):
            return self.home.rstrip(b"/") + path[1:] or b"/"
        return path

    def pack(self) -> bytes:
        """Return the form in the file."""
        told = {
            "access": self.access,
            "paths": arguments_to_json(self.paths),
            "home": arguments_to_json((self.home,)),
            "roots": None if self.roots is None else arguments_to_json(self.roots),
            "user": self.user,
            "writable": arguments_to_json(self.writable),
            "before": self.before,
        }
        return json.dumps(told).encode()

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """Return the order that the core has written."""
        told = json.loads(packed)
        [home] = arguments_from_json(told["home"])
        user = None
        if told["user"] is not None:
            uid, gid, groups = told["user"]
            user = TransferIds(uid, gid, tuple(groups))
        roots = None if told["roots"] is None else arguments_from_json(told["roots"])
        writable = arguments_from_json(told["writable"])
        paths = arguments_from_json(told["paths"])
        return cls(told["access"], paths, home, roots, user, writable, told["before"])


class OrderFile:
    """The file, by its descriptor."""

    def __init__(self, fd: int) -> None:
        self.fd: Final = fd

    @classmethod
    def create(cls, order: TransferOrder) -> Self:
        """Write a new file, whose descriptor child processes do not inherit. Raises OSError."""
        content = memoryview(bytes(_REPORT.size) + order.pack())
        fd = os.memfd_create("farhand-transfer", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            while content:
                content = content[os.write(fd, content) :]
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        except BaseException:
            os.close(fd)
            raise
        return cls(fd)

    def order(self) -> TransferOrder:
        """Return the order."""
        size = os.fstat(self.fd).st_size - _REPORT.size
        return TransferOrder.unpack(os.pread(self.fd, size, _REPORT.size))

    def write_report(self, report: TransferReport) -> None:
        """Replace the report."""
        os.pwrite(self.fd, report.pack(), 0)

    def report(self) -> TransferReport:
        """Return the report: an empty one if the worker has written none, or nonsense."""
        try:
            return TransferReport.unpack(os.pread(self.fd, _REPORT.size, 0))
        except (OSError, ValueError):
            return TransferReport()

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)
