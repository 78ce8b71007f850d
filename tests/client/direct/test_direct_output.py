"""What is written counts, and what is not written is handed over or thrown away."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from farhand_client.direct.direct_output import DirectOutput
from farhand_client.handover import OutputSoFar
from farhand_protocol.limits import CLIENT_LIMITS

HALF = CLIENT_LIMITS.window // 2


@pytest.fixture
def pipe() -> Iterator[tuple[DirectOutput, int]]:
    reading, writing = os.pipe()
    output = DirectOutput("stdout", writing)
    yield output, reading
    output.writer.close()
    for fd in (reading, writing):
        os.close(fd)


def arrived(output: DirectOutput, data: bytes) -> int:
    output.window.receive(len(data))
    return output.write([memoryview(data)])


def test_credit_is_granted_for_what_was_written(pipe: tuple[DirectOutput, int]) -> None:
    output, reading = pipe
    assert arrived(output, b"one") == 0, "too little for a message"
    assert os.read(reading, 9) == b"one"
    assert output.written == 3


def test_what_waits_is_handed_over(pipe: tuple[DirectOutput, int]) -> None:
    output, reading = pipe
    arrived(output, bytes(200_000))
    assert output.writer.pending
    before = output.written
    assert len(os.read(reading, 5000)) == 5000
    output.write(None)
    assert output.written > before
    so_far = OutputSoFar()
    output.hand_over(so_far)
    assert so_far.written + len(b"".join(so_far.unwritten)) == 200_000
    assert (so_far.written, so_far.discarded) == (output.written, False)


def test_what_nobody_wants_counts_as_written(pipe: tuple[DirectOutput, int]) -> None:
    output, _ = pipe
    arrived(output, bytes(HALF - 1))
    output.discard()
    assert not output.writer.pending
    granted = arrived(output, bytes(HALF))
    assert granted > 0
    assert output.written == 2 * HALF - 1
    so_far = OutputSoFar()
    output.hand_over(so_far)
    assert (so_far.written, so_far.unwritten, so_far.discarded) == (2 * HALF - 1, [], True)
