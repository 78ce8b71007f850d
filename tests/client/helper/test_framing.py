"""Frames arrive whole, however the bytes are cut; what is too large is refused from its header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.helper.framing import BUFFER_SIZE, BrokenFrame, FrameProtocol
from farhand_protocol.frames import encode_frame

LIMIT = 300_000


class Recorder(FrameProtocol):
    """Keeps what it receives."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[bytes] = []
        self.failure: BrokenFrame | None = None

    def check(self, kind: int, channel: int, length: int) -> None:
        if length > LIMIT:
            raise BrokenFrame("too large")

    def frame(self, kind: int, channel: int, frame: memoryview) -> None:
        self.frames.append(bytes(frame))

    def broken(self, why: BrokenFrame) -> None:
        self.failure = why

    def feed(self, data: bytes, size: int) -> None:
        """Deliver `data` in reads of at most `size` bytes."""
        at = 0
        while at < len(data):
            buffer = self.get_buffer(-1)
            count = min(size, len(buffer), len(data) - at)
            assert count > 0, "there is always room"
            buffer[:count] = data[at : at + count]
            self.buffer_updated(count)
            at += count


@given(st.lists(st.binary(max_size=20), max_size=6), st.integers(min_value=1, max_value=40))
def test_frames_arrive_however_they_are_cut(payloads: list[bytes], size: int) -> None:
    frames = [encode_frame(1, number, payload) for number, payload in enumerate(payloads)]
    recorder = Recorder()
    recorder.feed(b"".join(frames), size)
    assert recorder.frames == frames
    assert not recorder.incomplete


@pytest.mark.parametrize("size", [1000, 65536, 10**6])
def test_a_frame_larger_than_the_buffer_is_received_and_its_memory_given_back(size: int) -> None:
    frames = [encode_frame(1, 1, b"a"), encode_frame(1, 2, b"b" * LIMIT), encode_frame(3, 3, b"c" * 65536)]
    recorder = Recorder()
    recorder.feed(b"".join(frames), size)
    recorder.feed(frames[0], size)
    assert recorder.frames == [*frames, frames[0]]
    assert len(recorder.get_buffer(-1)) == BUFFER_SIZE


def test_a_frame_that_is_too_large_is_refused_from_its_header() -> None:
    recorder = Recorder()
    recorder.feed(encode_frame(1, 1, b"a") + encode_frame(1, 1, b"b" * (LIMIT + 1))[:8], 1000)
    assert len(recorder.frames) == 1
    assert recorder.failure is not None
    assert len(recorder.get_buffer(-1)) == BUFFER_SIZE
