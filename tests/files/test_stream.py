"""The frames' way in and out: whole, byte by byte, several at once, cut off anywhere; failures stay failures."""

from __future__ import annotations

import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_files import wire
from farhand_files.stream import BUFFER, FrameReader, FrameWriter, StreamEnded

FRAMES: list[wire.Frame] = [
    wire.OptionsFrame(b"{}"),
    wire.Entry(0, wire.REGULAR, 0o644, 0, 0, 1, 3, b"a"),
    wire.Data(0, 0, b"abc"),
    wire.Finish(),
    wire.Data(0, 0, b"x" * wire.CHUNK),
    wire.Data(0, wire.CHUNK, b"y" * wire.CHUNK),
    wire.Want(0, wire.PARTIAL, 1, bytes(wire.CHUNK_SIZE * wire.MAX_DIGESTS)),
    wire.Summary(b"{}"),
]


class Source:
    """A stream that returns `content`, at most so many bytes at a time as `sizes` say, one after the other."""

    def __init__(self, content: bytes, sizes: list[int] | None = None) -> None:
        self._content = memoryview(content)
        self._sizes = sizes or [len(content)]
        self._turn = 0

    def readinto(self, buffer: memoryview) -> int:
        assert len(buffer), "a read for nothing looks like the end"
        size = min(self._sizes[self._turn % len(self._sizes)], len(buffer), len(self._content))
        self._turn += 1
        buffer[:size] = self._content[:size]
        self._content = self._content[size:]
        return size

    def write(self, data: bytes | memoryview) -> None:
        raise NotImplementedError


class Target:
    """A stream that keeps what is written, and fails from the write with the number `fails` on."""

    def __init__(self, fails: int = 1 << 30) -> None:
        self.writes: list[bytes] = []
        self._fails = fails

    def readinto(self, buffer: memoryview) -> int:
        raise NotImplementedError

    def write(self, data: bytes | memoryview) -> None:
        if len(self.writes) >= self._fails:
            raise ConnectionResetError
        self.writes.append(bytes(data))


def kept(frame: wire.Frame) -> wire.Frame:
    """Return a frame whose data stay."""
    return frame._replace(data=bytes(frame.data)) if isinstance(frame, wire.Data) else frame


def read_all(reader: FrameReader) -> list[wire.Frame]:
    frames = []
    while True:
        try:
            frames.append(kept(reader.read()))
        except StreamEnded:
            return frames


@pytest.mark.parametrize("sizes", [None, [1 << 16], [wire.CHUNK, 1, 5], [7]], ids=str)
def test_frames_arrive_as_they_were_sent_however_they_are_split(sizes: list[int] | None) -> None:
    sent = FRAMES if sizes != [7] else [*FRAMES[:4], *FRAMES[-1:]]
    content = b"".join(wire.encode(frame) for frame in sent * 3)
    assert read_all(FrameReader(Source(content, sizes))) == sent * 3


@given(st.lists(st.sampled_from([0, 1, 2, 3]), max_size=6), st.lists(st.integers(1, 9), min_size=1))
def test_small_frames_arrive_whatever_the_reads_return(numbers: list[int], sizes: list[int]) -> None:
    sent = [FRAMES[number] for number in numbers]
    content = b"".join(wire.encode(frame) for frame in sent)
    assert read_all(FrameReader(Source(content, sizes))) == sent


def test_an_end_in_the_middle_of_a_frame_is_an_end() -> None:
    content = wire.encode(FRAMES[2])
    for end in range(len(content)):
        with pytest.raises(StreamEnded):
            FrameReader(Source(content[:end])).read()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\0\0\0\0\xff", "there is no frame of kind 255"),
        (b"\xff\xff\xff\xff\x09", "a payload of 4294967295 bytes was announced; the maximum is 1114112"),
    ],
)
def test_a_bad_header_is_refused_before_anything_follows(content: bytes, what: str) -> None:
    with pytest.raises(wire.WireError, match=what):
        FrameReader(Source(content)).read()


def test_what_is_to_be_done_before_a_wait_is_done_then_and_only_then() -> None:
    content = wire.encode(FRAMES[2]) + wire.encode(FRAMES[3])
    waits: list[int] = []
    source = Source(content, [len(content) - 1])
    reader = FrameReader(source, lambda: waits.append(len(waits)))
    reader.read()
    assert waits == [0]
    reader.read()
    assert waits == [0, 1]  # the last byte was missing
    with pytest.raises(StreamEnded):
        reader.read()
    assert waits == [0, 1, 2]


def test_small_frames_are_written_together_and_at_a_flush() -> None:
    target = Target()
    writer = FrameWriter(target)
    writer.flush()
    writer.write(FRAMES[1])
    writer.write_data(0, 0, memoryview(b"abc"))
    assert target.writes == []
    writer.write(FRAMES[3], flush=True)
    assert target.writes == [b"".join(wire.encode(frame) for frame in FRAMES[1:4])]
    writer.flush()
    assert len(target.writes) == 1


def test_what_is_collected_is_bounded() -> None:
    target = Target()
    writer = FrameWriter(target)
    for number in range(BUFFER // 20):
        writer.write_data(number, 0, b"x" * 100)
    assert len(target.writes) > 1
    assert max(map(len, target.writes)) < BUFFER + 200


def test_large_data_follow_what_was_collected_before() -> None:
    target = Target()
    writer = FrameWriter(target)
    sent = [FRAMES[1], FRAMES[4], FRAMES[2], FRAMES[6], FRAMES[5]]
    for frame in sent:
        if isinstance(frame, wire.Data):
            writer.write_data(frame.number, frame.offset, frame.data)
        else:
            writer.write(frame)
    writer.flush()
    assert read_all(FrameReader(Source(b"".join(target.writes)))) == sent


def test_after_a_failure_nothing_more_is_written() -> None:
    target = Target(fails=1)
    writer = FrameWriter(target)
    writer.write(FRAMES[3], flush=True)
    with pytest.raises(ConnectionResetError):
        writer.write_data(0, 0, b"x" * wire.CHUNK)
    target.writes.clear()
    with pytest.raises(BrokenPipeError, match="has failed before"):
        writer.write(FRAMES[3], flush=True)
    with pytest.raises(BrokenPipeError, match="has failed before"):
        writer.write_data(0, 0, b"x" * wire.CHUNK)
    assert target.writes == []


def test_frames_of_several_threads_stay_whole() -> None:
    target = Target()
    writer = FrameWriter(target)

    def write(number: int) -> None:
        chance = random.Random(number)
        for offset in range(200):
            writer.write_data(number, offset, bytes([number]) * chance.choice([1, 100, BUFFER]))
            writer.write(wire.Skip(number))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    writer.flush()
    frames = read_all(FrameReader(Source(b"".join(target.writes))))
    for number in range(4):
        data = [frame for frame in frames if isinstance(frame, wire.Data) and frame.number == number]
        assert [frame.offset for frame in data] == list(range(200))
        assert all(set(frame.data) == {number} for frame in data)
    assert len(frames) == 4 * 400
