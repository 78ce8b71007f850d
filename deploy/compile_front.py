"""Compiles the front of `farhand`, for `hatch_build.py` and for tests."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path


def compile_front(source: Path, front: Path) -> str | None:
    """Compile the front; return `static` or `dynamic`, as it is linked, or None if there is no working compiler.

    CC names another compiler than cc.
    """
    compiler = shlex.split(os.environ.get("CC") or "cc")
    for linked, options in (("static", ["-static"]), ("dynamic", [])):
        command = [*compiler, "-std=c11", "-Os", "-s", *options, "-Wall", "-Wextra", "-o", str(front), str(source)]
        try:
            if not subprocess.run(command, capture_output=True, check=False).returncode:
                return linked
        except OSError:
            return None
    return None
