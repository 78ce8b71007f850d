"""How a run ended, in the terms of `subprocess` and in words."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from farhand_client import CommandError, Completed, ConnectionLost, Exited, Killed, Lost, Result, Signaled, TimedOut
from farhand_client.attach_request import attach_request
from farhand_client.options import RunOptions
from farhand_client.results import describe, lost_run_error, returncode
from farhand_protocol.outcome import SpawnFailed

NOT_FOUND = SpawnFailed(errno=2, error="ENOENT", what="program", message="there is no nope")


def result(outcome: Any) -> Result:
    return Result(outcome, "01890a5d-ac96-774b-bcce-b302099a8057", 0.5, 1, 2, lingered=False)


@pytest.mark.parametrize(
    ("outcome", "number"),
    [
        (Exited(code=255), 255),
        (Signaled(signal=9), -9),
        (TimedOut(timeout=1, signal=9), -9),
        (Killed(reason="requested", code=5), 5),
        (Killed(reason="requested", code=0), -signal.SIGTERM),
        (Killed(reason="requested"), -signal.SIGTERM),
    ],
)
def test_return_codes_are_those_of_subprocess(outcome: Any, number: int) -> None:
    assert returncode(outcome) == result(outcome).returncode == number


@pytest.mark.parametrize("outcome", [Lost(), NOT_FOUND])
def test_a_run_that_never_ended_has_no_return_code(outcome: Any) -> None:
    with pytest.raises(ValueError, match="has no return code"):
        returncode(outcome)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Exited(code=3), "exited with code 3"),
        (Signaled(signal=9), "was terminated by SIGKILL"),
        (TimedOut(timeout=2.5, signal=15), "was stopped after 2.5 seconds"),
        (TimedOut(timeout=60, idle=True, signal=15), "was stopped after 60 seconds without output"),
        (Killed(reason="requested", signal=15), "was stopped on request"),
        (
            Killed(reason="memory", signal=9, message="512 MiB"),
            "was killed because it exceeded its memory limit: 512 MiB",
        ),
        (NOT_FOUND, "never ran: there is no nope"),
        (Lost(), "has an unknown outcome: the service that ran it is gone"),
    ],
)
def test_every_outcome_completes_a_sentence(outcome: Any, words: str) -> None:
    assert describe(outcome) == words


@pytest.mark.parametrize("outcome", [Exited(code=1), Killed(reason="draining", code=0)])
def test_check_returncode_accepts_only_exit_code_0(outcome: Any) -> None:
    Completed(["x"], result(Exited(code=0)), b"", b"", truncated=False).check_returncode()
    with pytest.raises(CommandError):
        Completed(["x"], result(outcome), b"", b"", truncated=False).check_returncode()


@pytest.mark.parametrize(
    ("options", "started", "known"),
    [
        (RunOptions(), True, "stops it 60 seconds after it lost its client; to attach to it again: farhand attach web"),
        (RunOptions.of(grace=300), True, "stops it 300 seconds after"),
        (RunOptions.of(on_disconnect="keep"), True, "the service keeps it; to attach to it again: farhand attach web"),
        (RunOptions(), False, "if it is requested again under the same id, it does not run twice"),
    ],
)
def test_a_lost_run_is_described_as_far_as_it_is_known(options: RunOptions, started: bool, known: str) -> None:
    request = options.request(["x"], stdin=False)
    cause = OSError("cut")
    why = ConnectionLost("the connection failed")
    why.__cause__ = cause
    lost = lost_run_error(why, request, "web", started=started)
    assert str(lost).startswith(f"the connection failed; run {request.id} was under way and its outcome is unknown")
    assert known in str(lost)
    assert (lost.run_id, lost.may_have_run, lost.__cause__) == (request.id, True, cause)


def test_an_attached_run_may_still_be_known() -> None:
    opening = attach_request("01890a5d-ac96-774b-bcce-b302099a8057", (0, 0))
    assert "the service may still know it" in str(lost_run_error(ConnectionLost("cut"), opening, "web", started=True))
