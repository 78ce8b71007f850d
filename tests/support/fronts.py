"""Farhand's fronts, installed in directories of tests, and a helper whose children act instead of running commands."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import farhand_client.helper
from deploy.compile_front import compile_front
from farhand_client.helper.front import _CLAIM_TIMEOUT as CLAIM_TIMEOUT
from farhand_client.mux.place import HelperPlace

KINDS: Final = ("native", "python")

FULL: Final = 77
"""The exit code of what stands for the full program in an `Installation`."""

HELPER: Final = Path(farhand_client.helper.__file__).parent


LONG_CLAIM_TIMEOUT: Final = 20_000
"""Milliseconds that the fronts of tests wait for a child to begin: a busy machine may need more than the tenth of a
second after which a front executes the full program."""


@functools.cache
def native_front(claim_timeout: int = CLAIM_TIMEOUT) -> Path:
    """Return the front in C, compiled once for this process."""
    folder = Path(tempfile.mkdtemp(prefix="fh-front-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    code = (HELPER / "front.c").read_text()
    source = folder / "front.c"
    source.write_text(
        code.replace(f"#define CLAIM_TIMEOUT {CLAIM_TIMEOUT}\n", f"#define CLAIM_TIMEOUT {claim_timeout}\n")
    )
    front = folder / "farhand"
    assert compile_front(source, front) is not None, "needs a C compiler, such as gcc"
    return front


def install_front(
    kind: str, directory: Path, full: str, instead: str = "", *, claim_timeout: int = CLAIM_TIMEOUT
) -> Path:
    """Put a front, and the script `full` as the full program, into a directory; return the front.

    It waits `claim_timeout` milliseconds for a child to begin.
    The front in Python goes on in its own process: there, the code `instead` may replace `farhand_client.cli.main`.
    """
    directory.mkdir(exist_ok=True)
    front = directory / "farhand"
    if kind == "native":
        shutil.copy(native_front(claim_timeout), front)
    else:
        start = "import sys\n\nfrom farhand_client.helper.front import main\n"
        if claim_timeout != CLAIM_TIMEOUT:
            start += f"sys.modules[main.__module__]._CLAIM_TIMEOUT = {claim_timeout}\n"
        front.write_text(f"#!{sys.executable}\n{start}\n{instead}\nsys.exit(main())\n")
    script = directory / "farhand-full"
    script.write_text(full)
    for program in (front, script):
        program.chmod(0o755)
    return front


REPLACE: Final = """
class Program:
    main = staticmethod(full)
sys.modules["farhand_client.cli"] = Program
"""
"""Code that lets the front in Python go on with a function `full`."""


@dataclass(frozen=True)
class Installation:
    """A front whose full program only says so, and exits with `FULL`; with a runtime directory of its own."""

    kind: str
    front: Path
    runtime: Path

    @classmethod
    def make(cls, kind: str, directory: Path, claim_timeout: int = LONG_CLAIM_TIMEOUT) -> Installation:
        """Make one below `directory`."""
        instead = f"def full():\n    print('full', *sys.argv[1:], flush=True)\n    return {FULL}\n{REPLACE}"
        front = install_front(
            kind, directory / "bin", f'#!/bin/sh\necho "full $*"; exit {FULL}\n', instead, claim_timeout=claim_timeout
        )
        runtime = directory / "run"
        runtime.mkdir(mode=0o700)
        return cls(kind, front, runtime)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of fronts and the helper."""
        return {**os.environ, "XDG_RUNTIME_DIR": str(self.runtime)}

    @property
    def socket(self) -> Path:
        """Where the front looks for the helper."""
        return Path(
            os.fsdecode(HelperPlace(bytes(self.runtime / "farhand"), bytes(self.front.parent.resolve())).fronts)
        )

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start the front."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": self.environment, **options}
        return subprocess.Popen([self.front, *arguments], **options)

    def run(self, *arguments: str, **options: Any) -> tuple[int, str, str]:
        """Run the front; return exit code, stdout and stderr."""
        data = options.pop("input", None)
        options.setdefault("stdin", subprocess.DEVNULL if data is None else subprocess.PIPE)
        with self.start(*arguments, **options) as process:
            stdout, stderr = process.communicate(data, timeout=30)
        return process.returncode, (stdout or b"").decode(), (stderr or b"").decode()


@contextlib.contextmanager
def acting_helper(installation: Installation) -> Iterator[subprocess.Popen[bytes]]:
    """A helper that has only a zygote, and whose children do what `tests.support.acting_child` says."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.acting_child", installation.socket],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=installation.environment,
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.stdin.close()
            process.wait(30)
