"""How `farhandd` was started makes no difference to it, and what fails beside it is a sentence."""

from __future__ import annotations

import logging
import sys
import threading

import pytest

from farhand_server.cli.process import escape_what_cannot_be_shown, open_standard_files, prepare_process
from tests.support.process_start import Broken, check_closed_files, check_escaping, fail_in_deletion


def test_closed_standard_files_cannot_be_used_and_are_never_reused() -> None:
    check_closed_files(open_standard_files)


def test_text_for_people_never_fails_for_an_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    check_escaping(escape_what_cannot_be_shown, monkeypatch)


@pytest.mark.parametrize(("debug", "shown"), [("", False), ("1", True)])
def test_an_error_in_a_deletion_is_shown_only_on_request(
    debug: str, shown: bool, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARHAND_DEBUG", debug)

    fail_in_deletion(prepare_process)
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
