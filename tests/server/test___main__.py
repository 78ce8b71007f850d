"""`python -m farhand_server` is `farhandd`."""

from __future__ import annotations

import runpy
import sys
import threading
from importlib.metadata import version

import pytest

from farhand_server import __version__


def test_the_package_is_the_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["farhandd", "--version"])
    monkeypatch.setenv("FARHAND_DEBUG", "1")  # leaves the warnings of the tests alone
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # restored at the end, as is the next one
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("farhand_server", run_name="__main__")
    assert ended.value.code in (0, None)
    assert __version__ in capsys.readouterr().out


def test_the_version_is_that_of_the_distribution() -> None:
    assert __version__ == version("farhand")
