"""What a front's process prints."""

from __future__ import annotations

import subprocess


def line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()
