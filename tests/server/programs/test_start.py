"""A program ends with its exit code whatever happens in it, and loads what its user could not."""

from __future__ import annotations

import fcntl
import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from farhand_server.programs import start
from farhand_server.programs.order_file import RunIds
from farhand_server.programs.start import (
    OWN_PIPE_SIZE,
    PROGRAM_BUG,
    become,
    load_lazy_modules,
    readable_by_all,
    run_and_exit,
)


def run(code: str) -> subprocess.CompletedProcess[bytes]:
    program = f"from farhand_server.programs.start import *; import fcntl, os, threading\n{code}"
    return subprocess.run([sys.executable, "-c", program], stdin=subprocess.PIPE, capture_output=True, check=False)


def test_the_exit_code_is_what_the_work_returns_even_if_a_thread_hangs() -> None:
    hangs = "threading.Thread(target=threading.Event().wait).start()"
    done = run(
        f"def work():\n {hangs}\n become(None)\n return fcntl.fcntl(0, fcntl.F_GETPIPE_SZ) >> 18\nrun_and_exit(work)"
    )
    assert done.returncode == OWN_PIPE_SIZE >> 18


def test_an_error_in_the_program_has_an_exit_code_of_its_own() -> None:
    done = run("run_and_exit(lambda: 1 // 0)")
    assert (done.returncode, b"ZeroDivisionError" in done.stderr) == (PROGRAM_BUG, True)


def test_modules_are_loaded_before_only_if_not_everybody_could_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lazy_one.py").write_text("")
    for each in (tmp_path, *tmp_path.parents):
        if each.stat().st_uid != 0 or str(each).startswith("/tmp/fh-"):
            each.chmod(0o755)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "lazy_one", raising=False)
    if readable_by_all(sys.path):
        load_lazy_modules(["lazy_one"])
        assert "lazy_one" not in sys.modules
    tmp_path.chmod(0o700)
    assert not readable_by_all([str(tmp_path)])
    assert readable_by_all([str(tmp_path / "none")])
    load_lazy_modules(["lazy_one"])
    assert "lazy_one" in sys.modules


def test_the_pipes_are_enlarged_before_anything_is_done_and_the_code_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[object] = []
    monkeypatch.setattr(fcntl, "fcntl", lambda fd, _, size: steps.append((fd, size)))
    monkeypatch.setattr(os, "_exit", steps.append)
    monkeypatch.setattr(sys, "__excepthook__", lambda *_: steps.append("said"))
    run_and_exit(lambda: 3)
    assert steps == [(0, OWN_PIPE_SIZE), (1, OWN_PIPE_SIZE), 3]
    run_and_exit(lambda: 1 // 0)
    assert steps[-2:] == ["said", PROGRAM_BUG]


def test_privileges_are_given_up_after_the_user_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[object] = []
    monkeypatch.setattr(start, "become_user", lambda *ids: steps.append(ids))
    monkeypatch.setattr(start, "give_up_privileges", lambda: steps.append("gave up"))
    monkeypatch.setattr(os, "umask", lambda mask: steps.append(mask))
    monkeypatch.setattr(gc, "freeze", lambda: None)
    become(RunIds(1, 2, (3,)))
    assert steps == [(1, 2, (3,)), 0o022, "gave up"]
    become(None)
    assert steps[3:] == ["gave up"]
