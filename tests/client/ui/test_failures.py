"""Errors that nothing has handled: one sentence, an exit code that is not the command's, a traceback on request."""

from __future__ import annotations

import errno
import pickle

import pytest

from farhand_client.errors import AddressError, ConnectError
from farhand_client.ui import failures
from farhand_client.ui.failures import UnforeseenError, report_failure, report_in_background, unforeseen


@pytest.fixture(autouse=True)
def _without_debugging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FARHAND_DEBUG", raising=False)


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (SystemExit(2), 2, ""),
        (SystemExit(None), 0, ""),
        (SystemExit("text"), 255, ""),
        (KeyboardInterrupt(), 130, ""),
        (AddressError("no such host"), 2, "no such host"),
        (ConnectError("no answer"), 255, "no answer"),
        (MemoryError(), 255, "there is not enough memory (ulimit -v)"),
        (OSError(errno.EACCES, "Permission denied", "/x"), 255, "/x: Permission denied"),
        (BrokenPipeError("the run has ended"), 255, "unexpected error BrokenPipeError: the run has ended"),
        (KeyError("x"), 255, "unexpected error KeyError: 'x'"),
    ],
    ids=repr,
)
def test_each_error_is_one_sentence_and_an_exit_code(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, sentence: str
) -> None:
    assert report_failure(error) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.partition(";")[0].rstrip("\n") == (f"farhand: {sentence}" if sentence else "")
    assert err.count("\n") == bool(sentence)


def test_an_error_that_an_interrupt_has_become_is_an_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    class Interrupted:
        def __set_name__(self, owner: object, name: str) -> None:
            raise KeyboardInterrupt

    with pytest.raises(RuntimeError) as caught:
        type("Owner", (), {"field": Interrupted()})
    assert report_failure(caught.value) == 130
    assert capsys.readouterr() == ("", "")


def test_a_pipe_without_a_reader_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    discarded: list[int] = []
    monkeypatch.setattr(failures, "discard_buffer", discarded.append)
    assert report_failure(BrokenPipeError(errno.EPIPE, "Broken pipe")) == 141
    assert discarded == [1]


def test_tracebacks_are_shown_on_request(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARHAND_DEBUG", "1")
    report_failure(KeyError("x"))
    report_in_background(KeyError("y"))
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if not line.startswith("farhand: ")] == []
    assert "farhand: KeyError: 'x'" in lines
    assert "farhand: in the background: unexpected error KeyError: 'y'" in [line.partition(";")[0] for line in lines]


def test_a_foreseen_error_stays_as_it_is_and_another_becomes_a_sentence() -> None:
    known = ConnectError("no answer")
    assert unforeseen(known, "id") is known
    other = unforeseen(MemoryError(), "id")
    assert isinstance(other, UnforeseenError)
    assert (str(other), other.run_id) == ("there is not enough memory (ulimit -v)", "id")


def test_an_unforeseen_error_survives_pickle() -> None:
    error = pickle.loads(pickle.dumps(UnforeseenError("text", run_id="id")))
    assert (str(error), error.run_id) == ("text", "id")
