"""The time until the login must be done."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator

import pytest

from farhand_client.direct.deadline import DirectDeadline, InterruptedBySignal
from farhand_client.direct.signals import CollectedSignals
from farhand_client.errors import ConnectError


@pytest.fixture
def signals() -> Iterator[CollectedSignals]:
    with CollectedSignals() as collected:
        yield collected


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_a_ready_descriptor_is_told_from_one_that_is_not(signals: CollectedSignals, pipe: tuple[int, int]) -> None:
    deadline = DirectDeadline(30, signals)
    assert not deadline.wait(pipe[0], select.POLLIN, 0.01)
    os.write(pipe[1], b"x")
    assert deadline.wait(pipe[0], select.POLLIN)
    assert deadline.wait_for_any({pipe[0]: select.POLLIN, pipe[1]: 0}) == [pipe[0]]
    assert 0 < deadline.left <= 30


def test_the_error_names_the_step_that_took_too_long(signals: CollectedSignals, pipe: tuple[int, int]) -> None:
    deadline = DirectDeadline(0.02, signals)
    deadline.resolving("web")
    with pytest.raises(ConnectError, match=r"^the name web was not resolved within 0.02 seconds; its name server may"):
        deadline.wait(pipe[0], select.POLLIN)
    assert deadline.left == 0


def test_a_signal_ends_the_waiting(signals: CollectedSignals, pipe: tuple[int, int]) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(InterruptedBySignal) as caught:
        DirectDeadline(30, signals).wait(pipe[0], select.POLLIN)
    assert caught.value.number == signal.SIGTERM
