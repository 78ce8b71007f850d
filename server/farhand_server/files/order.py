"""What a transfer worker is told, and what it reports (`programs.order_file`)."""

from __future__ import annotations

import json
import re
import struct
from typing import Final, Literal, NamedTuple, Self, TypeAlias

from farhand_protocol.values import arguments_from_json, arguments_to_json
from farhand_server.programs.order_file import RunIds, SealedFile

WorkerAccess: TypeAlias = Literal["read", "write", "sweep"]

_REPORT: Final = struct.Struct(">B8Q64s")
"""Whether the transfer is over, the numbers of `TransferReport`, and the digest in hexadecimal."""


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
    user: RunIds | None
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
            user = RunIds(uid, gid, tuple(groups))
        roots = None if told["roots"] is None else arguments_from_json(told["roots"])
        writable = arguments_from_json(told["writable"])
        paths = arguments_from_json(told["paths"])
        return cls(told["access"], paths, home, roots, user, writable, told["before"])


class OrderFile(SealedFile):
    """The file with an order and a report, by its descriptor."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd, _REPORT.size)

    @classmethod
    def create(cls, order: TransferOrder) -> Self:
        """Write a new file, whose descriptor child processes do not inherit. Raises OSError."""
        return cls(cls.write(order.pack(), _REPORT.size))

    def order(self) -> TransferOrder:
        """Return the order."""
        return TransferOrder.unpack(self.packed_order())

    def write_report(self, report: TransferReport) -> None:
        """Replace the report."""
        self.replace_report(report.pack())

    def report(self) -> TransferReport:
        """Return the report: an empty one if the worker has written none, or nonsense."""
        try:
            return TransferReport.unpack(self.packed_report())
        except (OSError, ValueError):
            return TransferReport()
