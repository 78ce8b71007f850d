"""Checks of how a program prepares its process, the same for both programs."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable

import pytest


def in_child(act: Callable[[], int]) -> int:
    """Return the exit code of a child that calls `act`: what that returns."""
    pid = os.fork()
    if not pid:
        code = 99
        try:
            code = act()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def check_closed_files(open_standard_files: Callable[[], None]) -> None:
    """Check that closed standard files cannot be used afterwards, and that no other file gets their descriptors."""

    def act() -> int:
        os.closerange(0, 3)
        open_standard_files()
        assert os.open(os.devnull, os.O_RDONLY) > 2
        for use in (lambda: os.read(0, 1), lambda: os.write(1, b"x")):
            try:
                use()
            except OSError:
                continue
            return 1
        sys.stdout.write("x")
        try:
            sys.stdout.flush()
        except OSError:
            sys.stderr.write("x")
            sys.stderr.flush()
            return 0
        return 2

    assert in_child(act) == 0


def check_escaping(escape: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that stdout and stderr escape what Latin-1 lacks, and that a stream of another kind is left alone."""
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding="latin-1") for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    escape()
    for stream in streams.values():
        stream.write("é 日 \udcff")
        stream.flush()
        assert stream.buffer.getvalue() == b"\xe9 \\u65e5 \\xff"
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    escape()


class Broken:
    """Its deletion fails."""

    def __del__(self) -> None:
        raise KeyError("deleted")


def fail_in_deletion(prepare_process: Callable[[], None]) -> None:
    """Delete a `Broken` object in a child that was prepared, whose stderr is that of this process."""

    def act() -> int:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115  # not the one of pytest
        prepare_process()
        broken = Broken()
        del broken
        sys.stderr.flush()
        return 0

    assert in_child(act) == 0
