"""File systems of the kernel's own, whose files have content that their size does not tell: /proc and the like."""

from __future__ import annotations

import os
from typing import Final

_PSEUDO: Final = (b"proc", b"sysfs", b"debugfs", b"tracefs", b"cgroup", b"cgroup2", b"configfs", b"securityfs")
"""File systems whose files have content that their size does not tell."""


def pseudo_devices() -> frozenset[int]:
    """Return the devices of file systems whose files have more content than their size says."""
    found = set()
    try:
        with open("/proc/self/mountinfo", "rb") as mounts:
            for line in mounts:
                before, _, after = line.partition(b" - ")
                if after.split(b" ", 1)[0] in _PSEUDO:
                    major, minor = before.split(b" ")[2].split(b":")
                    found.add(os.makedev(int(major), int(minor)))
    except OSError:  # macOS
        pass
    return frozenset(found)
