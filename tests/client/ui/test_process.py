"""How this process was started makes no difference to it."""

from __future__ import annotations

import resource
import signal

import pytest

from farhand_client.ui.process import (
    escape_what_cannot_be_shown,
    open_standard_files,
    prepare_process,
    require_memory,
    reset_signals,
)
from tests.support.process_start import check_closed_files, check_escaping, fail_in_deletion, in_child


def test_closed_standard_files_cannot_be_used_and_are_never_reused() -> None:
    check_closed_files(open_standard_files)


@pytest.mark.parametrize(("limit", "enough"), [(90_000 << 10, False), (128 << 20, True)])
def test_too_little_memory_is_noticed_before_a_library_aborts(limit: int, enough: bool) -> None:
    def act() -> int:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        try:
            require_memory()
        except MemoryError:
            return 1
        return 0

    assert in_child(act) == (0 if enough else 1)


def test_text_for_people_never_fails_for_an_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    check_escaping(escape_what_cannot_be_shown, monkeypatch)


def test_inherited_signals_are_reset_but_for_those_that_nohup_ignores() -> None:
    def act() -> int:
        for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGTERM})
        reset_signals()
        kept = signal.getsignal(signal.SIGHUP) == signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        reset = signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGQUIT) == signal.SIG_DFL
        return 0 if kept and reset and not signal.pthread_sigmask(signal.SIG_BLOCK, ()) else 1

    assert in_child(act) == 0


@pytest.mark.parametrize(("debug", "shown"), [("", False), ("1", True)])
def test_an_error_in_a_deletion_is_shown_only_on_request(
    debug: str, shown: bool, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARHAND_DEBUG", debug)

    fail_in_deletion(prepare_process)
    assert ("KeyError: 'deleted'" in capfd.readouterr().err) is shown
