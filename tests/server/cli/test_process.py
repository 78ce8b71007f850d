"""How `farhandd` was started makes no difference to it, and what fails beside it is a sentence."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from collections.abc import Callable

import pytest

from farhand_server.cli.process import escape_what_cannot_be_shown, open_standard_files, prepare_process


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


def test_closed_standard_files_cannot_be_used_and_are_never_reused() -> None:
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


def test_text_for_people_never_fails_for_an_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding="latin-1") for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    escape_what_cannot_be_shown()
    for stream in streams.values():
        stream.write("é 日 \udcff")
        stream.flush()
        assert stream.buffer.getvalue() == b"\xe9 \\u65e5 \\xff"


def test_a_stream_that_is_no_text_wrapper_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    escape_what_cannot_be_shown()


class Broken:
    """Its deletion fails."""

    def __del__(self) -> None:
        raise KeyError("deleted")


@pytest.mark.parametrize(("debug", "shown"), [("", False), ("1", True)])
def test_an_error_in_a_deletion_is_shown_only_on_request(
    debug: str, shown: bool, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARHAND_DEBUG", debug)

    def act() -> int:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115  # not the one of pytest
        prepare_process()
        broken = Broken()
        del broken
        sys.stderr.flush()
        return 0

    assert in_child(act) == 0
    assert ("KeyError: 'deleted'" in capfd.readouterr().err) is shown


def test_a_failed_thread_is_one_sentence(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FARHAND_DEBUG", raising=False)
    for owner, name in ((sys, "unraisablehook"), (threading, "excepthook"), (logging, "lastResort")):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # restored at the end
    prepare_process()

    def fail() -> None:
        raise KeyError("x")

    thread = threading.Thread(target=fail, name="logs")
    thread.start()
    thread.join()
    broken = Broken()
    del broken
    sentence = "farhandd: the thread logs failed: unexpected error KeyError: 'x'; this is a fault in Farhand"
    err = capsys.readouterr().err
    assert err.startswith(sentence)
    assert err.count("\n") == 1
