"""The queue of frames to send: messages overtake data, except the ordered ones, and everything in it is counted."""

from __future__ import annotations

import pytest

from farhand_protocol.frames import COPIED_DATA, Kind, SendQueue, encode_frame
from farhand_protocol.limits import FRAME_HEADER_SIZE
from tests.support.pairs import frames


def payloads(queue: SendQueue) -> list[bytes]:
    return [frame.payload for frame in frames(b"".join(queue.take()))]


def test_a_message_overtakes_data_unless_it_is_ordered() -> None:
    queue = SendQueue()
    queue.put_message(1, b"ordered, with no data before it", ordered=True, answer=False)
    queue.put_data(Kind.STDOUT, 1, b"data")
    queue.put_message(1, b"ordered", ordered=True, answer=False)
    assert queue.held_back == 1
    queue.put_message(0, b"message", ordered=False, answer=False)
    assert payloads(queue) == [b"ordered, with no data before it", b"message", b"data", b"ordered"]


@pytest.mark.parametrize("ordered", [False, True])
def test_bytes_and_answers_are_counted_in_both_queues(ordered: bool) -> None:
    queue = SendQueue()
    queue.put_data(Kind.STDERR, 1, b"12345")
    queue.put_message(1, b"123", ordered=ordered, answer=True)
    queue.put_message(1, b"1", ordered=ordered, answer=False)
    assert queue.bytes == 3 * FRAME_HEADER_SIZE + 9
    assert queue.answer_bytes == FRAME_HEADER_SIZE + 3
    queue.take()
    assert (queue.bytes, queue.answer_bytes, queue.held_back, queue.take()) == (0, 0, 0, [])


def test_a_payload_of_data_is_not_copied() -> None:
    queue, data = SendQueue(), b"x" * (COPIED_DATA + 1)
    queue.put_data(Kind.STDOUT, 1, data)
    assert queue.take()[1] is data
    assert queue.take() == []


def test_a_key_is_sent_with_its_header() -> None:
    queue = SendQueue()
    queue.put_data(Kind.STDIN, 1, b"k")
    assert queue.bytes == FRAME_HEADER_SIZE + 1
    assert queue.take() == [encode_frame(Kind.STDIN, 1, b"k")]
