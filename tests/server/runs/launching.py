"""What tests of the launcher share: users, limits, and the output of a program that is started through it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from farhand_server.credentials import Credentials
from farhand_server.runs.process.launch import LaunchCommand, launch
from farhand_server.runs.process.usage import ResourceLimits
from tests.support.processes import fields

NOBODY = Credentials("nobody", 65534, 65534, (65534, 4711))
LIMITS = ResourceLimits(files=50)
PATH = {b"PATH": b"/usr/bin:/bin"}


def wrapped(
    *argv: bytes,
    env: Mapping[bytes, bytes] = PATH,
    credentials: Credentials | None = None,
    limits: ResourceLimits = ResourceLimits(),  # noqa: B008  # frozen
    cgroup: Path | None = None,
    terminal: bool = False,
    argv0: bytes | None = None,
) -> LaunchCommand:
    """Return the command for these arguments, with a PATH as its environment unless another is given."""
    return launch(argv, env=env, credentials=credentials, limits=limits, cgroup=cgroup, terminal=terminal, argv0=argv0)


def run(command: LaunchCommand, **options: Any) -> bytes:
    """Run the command and return its output; it has to succeed without output on stderr."""
    done = subprocess.run(command.argv, env=command.env, capture_output=True, **{"cwd": "/", **options})
    assert (done.returncode, done.stderr) == (0, b"")
    output: bytes = done.stdout
    return output


def status_of(**options: Any) -> dict[str, str]:
    """Return /proc/self/status of a program started with these options."""
    return fields(run(wrapped(b"cat", b"/proc/self/status", **options)).decode())


def limits_of(limits: ResourceLimits) -> dict[str, tuple[str, str]]:
    """Return the soft and hard limits by name, from /proc/self/limits."""
    text = run(wrapped(b"cat", b"/proc/self/limits", limits=limits)).decode()
    return {line[:26].strip(): (line[26:47].strip(), line[47:68].strip()) for line in text.splitlines()[1:]}


WAYS = [
    pytest.param({"limits": LIMITS}, id="limits"),
    pytest.param({"credentials": NOBODY}, id="user", marks=pytest.mark.needs("root")),
    pytest.param({"credentials": NOBODY, "limits": LIMITS}, id="both", marks=pytest.mark.needs("root")),
]
