"""The tests of `farhand`'s commands once more, through a front and a helper.

`python -m tests.support.front_mode KIND [pytest's options]` (KIND: native or python) runs them so that each `farhand`
that `tests.support.warm` starts is a real front, with a real helper in the runtime directory of its environment. It
fails if fewer than `SERVED` percent of the commands were served: then the tests would prove nothing new.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from farhand_client.helper.circumstances import character_locale
from farhand_client.mux.place import HelperPlace
from tests.support.fronts import KINDS, REPLACE, install_front

KIND: Final = os.environ.get("FARHAND_TESTS_FRONT")
COUNTS: Final = os.environ.get("FARHAND_TESTS_FRONT_COUNTS")

SERVED: Final = 50
"""The others are refused on purpose: usage, `trust`, terminals, other limits and locales, killed helpers."""

READY: Final = 30.0
"""Timeout, in seconds, for a helper's first child to wait; it takes a tenth of one."""

_helpers: Final[dict[str, subprocess.Popen[bytes]]] = {}
"""The helpers by their runtime directories."""

_shared: Final[list[str]] = []
"""The runtime directories whose helpers serve several tests."""


def through_front(argv: Sequence[Any], env: Mapping[str, str] | None) -> tuple[list[Any], dict[str, str]]:
    """Return the command with a front in the place of the program, and its environment, in which there is a helper.

    Where there is no runtime directory, the command gets one that all such commands in the same locale share.
    """
    assert KIND is not None
    given = dict(os.environ if env is None else env)
    if not Path(given.get("XDG_RUNTIME_DIR", "/nonexistent")).is_dir():
        given["XDG_RUNTIME_DIR"] = _shared_runtime(_locale(given))
    running = _helpers.get(given["XDG_RUNTIME_DIR"])
    if running is None or running.poll() is not None:
        _helpers[given["XDG_RUNTIME_DIR"]] = _start_helper(given)
    _count("started")
    return [_front(KIND), *argv[3:]], given


def typed_words(argv: Sequence[str], env: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Return the words by which a shell starts `farhand`, and the environment that it needs: through a front if the
    tests are."""
    if KIND is None:
        return [*argv], dict(env)
    words, env = through_front(argv, env)
    return [str(word) for word in words], env


def _locale(env: Mapping[str, str]) -> str:
    return os.fsdecode(character_locale({os.fsencode(name): os.fsencode(value) for name, value in env.items()}))


@functools.cache
def _shared_runtime(locale: str) -> str:
    runtime = tempfile.mkdtemp(prefix="fh-run-")
    atexit.register(shutil.rmtree, runtime, ignore_errors=True)
    _shared.append(runtime)
    return runtime


def _count(name: str) -> None:
    if COUNTS is not None:
        with Path(COUNTS, name).open("a") as counted:
            counted.write("x")


@functools.cache
def _front(kind: str) -> Path:
    folder = tempfile.mkdtemp(prefix="fh-front-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    count = "" if COUNTS is None else f"open({str(Path(COUNTS, 'full'))!r}, 'a').write('x')"
    full = f"#!{sys.executable}\nimport sys\n{count}\nfrom farhand_client.cli import main\nsys.exit(main())\n"
    counted = f"""
def full():
    {count}
    del sys.modules["farhand_client.cli"]
    from farhand_client.cli import main
    return main()
{REPLACE}"""
    return install_front(kind, Path(folder), full, counted)


def _start_helper(env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a helper and wait until its first child does."""
    from tests.support import warm

    assert KIND is not None
    program = bytes(_front(KIND).parent.resolve())
    argv = (*warm.HELPER, program)
    null = subprocess.DEVNULL
    if warm.is_warm(argv, env) and _locale(env) == _locale(os.environ):
        process: subprocess.Popen[bytes] = warm.WarmPopen(argv, env=env, stdin=null, stdout=null, stderr=null)
    else:
        process = subprocess.Popen(argv, env=env, stdin=null, stdout=null, stderr=null)
    place = HelperPlace(os.fsencode(f"{env['XDG_RUNTIME_DIR']}/farhand"), program)
    deadline = time.monotonic() + READY
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as probe:
            if not probe.connect_ex(place.fronts):
                break
        time.sleep(0.002)  # a socket says nobody that it listens
    return process


@atexit.register
def _end_all() -> None:
    for process in _helpers.values():
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    process.wait(READY)


@contextlib.contextmanager
def ending_helpers() -> Iterator[None]:
    """End the helpers that were started inside the block, unless other tests use them."""
    try:
        yield
    finally:
        for runtime in [*_helpers.keys() - {*_shared}]:
            _end(_helpers.pop(runtime))


def main() -> int:
    """Run pytest as the module's docstring says; return the exit code."""
    kind, *options = sys.argv[1:]
    assert kind in KINDS, f"{kind} is not one of {', '.join(KINDS)}"
    with tempfile.TemporaryDirectory(prefix="fh-counts-") as counts:
        env = {**os.environ, "FARHAND_TESTS_FRONT": kind, "FARHAND_TESTS_FRONT_COUNTS": counts}
        code = subprocess.run([sys.executable, "-m", "pytest", *options], env=env, check=False).returncode
        started, full = (len(_text(Path(counts, name))) for name in ("started", "full"))
    print(f"farhand: {started} commands were given to the {kind} front; {started - full} were served")
    return code or int((started - full) * 100 < SERVED * started or not started)


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
