"""What fails on the other machine: what it was, and what to do about it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

MAX_COMPLAINT: Final = 4000
"""Characters of a program's output that are shown: the last ones, about as many as fit a screen."""

PROGRAM_TIMEOUT: Final = 120.0
"""Seconds that a program may take: compiling everything takes the longest, some seconds on an idle machine."""


class FarSideError(Exception):
    """A step failed. `advice` says what to do about it."""

    def __init__(self, text: str, advice: str = "") -> None:
        super().__init__(text)
        self.advice: Final = advice


@contextlib.contextmanager
def reported(doing: str) -> Iterator[None]:
    """Turn an OSError in the block into a FarSideError that says what was being done."""
    try:
        yield
    except OSError as error:
        name = f"{error.filename}: " if isinstance(error.filename, str) else ""
        raise FarSideError(f"cannot {doing}: {name}{error.strerror or error}") from None


def output_of(command: Sequence[str], environ: Mapping[str, str] | None = None, *, check: bool = True) -> str:
    """Run a program and return what it printed on stdout. Raises FarSideError if it fails; without `check` only if it
    cannot be run at all."""
    shown = " ".join(command)
    try:
        done = subprocess.run(
            command,
            env=None if environ is None else dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROGRAM_TIMEOUT,
            check=False,
            cwd=os.sep,
        )
    except subprocess.TimeoutExpired:
        raise FarSideError(f"{shown} has not ended after {PROGRAM_TIMEOUT:g} s") from None
    except OSError as error:
        raise FarSideError(f"cannot run {shown}: {error.strerror}") from None
    if check and done.returncode != 0:
        said = (done.stderr + done.stdout).decode(errors="replace").strip()[-MAX_COMPLAINT:]
        raise FarSideError(f"{shown} failed with code {done.returncode}: {said or 'it printed nothing'}")
    return done.stdout.decode(errors="replace")
