"""What one of the service's own programs is told, and what it reports: both in a file without a name
(memfd_create(2)).

The core makes the file with the order in it, the program inherits its descriptor. Nothing of it is in the program's
arguments or environment, which others can see, and it has no size limit worth mentioning. The beginning of the file is
for the program's report, which the core reads once the run is over; so what a program has done is also known if it was
killed, and the core waits for nothing. The size of the file is sealed: a program, which belongs to its user by then,
can write into it what it wants, but neither enlarge nor truncate it. A report is believed like the user's own word.
"""

from __future__ import annotations

import fcntl
import os
from typing import Final, NamedTuple

ORDER_VARIABLE: Final = "FARHAND_ORDER"
"""The environment variable with the number of the descriptor of the program's `SealedFile`."""

_SEALS: Final = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


class RunIds(NamedTuple):
    """The user that a program becomes."""

    uid: int
    gid: int
    groups: tuple[int, ...]


class SealedFile:
    """The file, by its descriptor. The report has `report_size` bytes, zeros until one is written."""

    def __init__(self, fd: int, report_size: int) -> None:
        self.fd: Final = fd
        self._report_size: Final = report_size

    @classmethod
    def write(cls, order: bytes, report_size: int) -> int:
        """Write a new file and return its descriptor, which child processes do not inherit. Raises OSError."""
        content = memoryview(bytes(report_size) + order)
        fd = os.memfd_create("farhand-order", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            while content:
                content = content[os.write(fd, content) :]
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        except BaseException:
            os.close(fd)
            raise
        return fd

    @classmethod
    def inherited(cls) -> int:
        """Return the descriptor of the file in a program that was started with one; its children do not inherit it."""
        fd = int(os.environ[ORDER_VARIABLE])
        os.set_inheritable(fd, False)
        return fd

    def packed_order(self) -> bytes:
        """Return the order as it was written."""
        return os.pread(self.fd, os.fstat(self.fd).st_size - self._report_size, self._report_size)

    def replace_report(self, packed: bytes) -> None:
        """Replace the report."""
        os.pwrite(self.fd, packed, 0)

    def packed_report(self) -> bytes:
        """Return the report. Raises OSError if the descriptor is closed."""
        return os.pread(self.fd, self._report_size, 0)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)
