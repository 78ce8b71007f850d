"""A recording is sent in messages that fit the client's limit, whatever the marks contain, built as it is consumed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol import messages as m
from farhand_protocol.limits import MIN_DATA, MIN_MESSAGE, KiB, Limits
from farhand_protocol.messages.codec import pack_marks
from tests.support.pairs import RUN_ID, Pair, sent

SMALL = Limits(message=MIN_MESSAGE, data=MIN_DATA, window=MIN_DATA)
DATA = 64 * KiB

counts = st.integers(0, m.MAX_COUNT)
cells = st.integers(0, 0xFFFF)
marks = st.lists(
    st.builds(
        m.OutputMark,
        at=counts,
        stdout=st.none() | counts,
        stderr=st.none() | counts,
        size=st.none() | st.builds(m.WindowSize, columns=cells, rows=cells),
        stdin=st.none() | st.binary(max_size=m.MAX_MARK_STDIN),
        cut=st.none() | st.booleans(),
    ),
    max_size=60,
)


def worst(stdin: int | None = None) -> m.OutputMark:
    most = m.MAX_COUNT
    typed = None if stdin is None else b"\xff" * stdin
    return m.OutputMark(at=most, stdout=most, stderr=most, size=m.WindowSize(columns=65535, rows=65535), stdin=typed)


@given(marks, st.sampled_from([MIN_MESSAGE, MIN_MESSAGE + 1, DATA]))
def test_marks_arrive_whole_and_in_order_in_messages_that_fit(marks: list[m.OutputMark], limit: int) -> None:
    parts = [m.encode(part) for part in pack_marks(marks, limit)]
    assert all(len(part) <= limit for part in parts)
    arrived = [m.decode(part, Limits()) for part in parts]
    assert [mark for part in arrived if isinstance(part, m.OutputMarks) for mark in part.marks] == marks


def test_marks_are_sent_and_received_on_a_recordings_channel() -> None:
    pair = Pair.ready(SMALL)
    pair.client.open(m.RecordingRequest(id=RUN_ID))
    pair.deliver()
    for part in pack_marks([worst(m.MAX_MARK_STDIN)] * 20, MIN_MESSAGE):
        pair.server.send(1, part)
    pair.server.send(1, m.Done())
    parts = [frame.message for frame in sent(pair.server)]
    assert [part.type for part in parts] == ["marks", "marks", "done"]


def test_any_mark_fits_the_smallest_peer() -> None:
    assert len(m.encode(m.OutputMarks(marks=(worst(m.MAX_MARK_STDIN),)))) <= MIN_MESSAGE


def test_a_full_message_of_marks_without_stdin_fits_a_data_frame() -> None:
    assert len(m.encode(m.OutputMarks(marks=(worst(),) * m.MAX_MARKS))) <= DATA


def test_a_message_is_filled_up_to_its_limits_of_bytes_and_marks() -> None:
    two = len(m.encode(m.OutputMarks(marks=(worst(), worst(9)))))
    marks = [worst(), worst(9)] * 2
    assert [len(part.marks) for part in pack_marks(marks, two)] == [2, 2]
    assert [len(part.marks) for part in pack_marks(marks, two - 1)] == [1, 1, 1, 1]
    assert [len(part.marks) for part in pack_marks([m.OutputMark(at=0)] * (2 * m.MAX_MARKS), DATA)] == [m.MAX_MARKS] * 2


def test_no_marks_give_no_message() -> None:
    assert list(pack_marks([], MIN_MESSAGE)) == []


def test_messages_are_built_as_they_are_consumed() -> None:
    made = 0

    def marks() -> Iterator[m.OutputMark]:
        nonlocal made
        while True:
            made += 1
            yield m.OutputMark(at=made)

    next(pack_marks(marks(), DATA))
    assert made == m.MAX_MARKS + 1


@pytest.mark.parametrize("count", [m.MAX_MARKS, m.MAX_MARKS + 1])
def test_one_message_has_at_most_the_maximum_of_marks(count: int) -> None:
    if count > m.MAX_MARKS:
        with pytest.raises(ValueError, match="at most"):
            m.OutputMarks(marks=(m.OutputMark(at=0),) * count)
    else:
        assert len(m.OutputMarks(marks=(m.OutputMark(at=0),) * count).marks) == count
