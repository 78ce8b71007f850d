"""A message is the same after its way through a packet, and nothing else is taken for a message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_server.worker.messages import (
    MAX_ERRNO,
    MAX_PACKET,
    KeyFileRead,
    KillWorker,
    LookedUp,
    LookUp,
    MessageError,
    NotAnswered,
    OpenStart,
    ReadKeyFile,
    StartOpened,
    StartWorker,
    WorkerMessage,
    decode,
    encode,
)

NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1)
ERRORS = st.integers(0, MAX_ERRNO)
TEXTS = st.binary(max_size=40)
LISTS = st.lists(TEXTS, max_size=4).map(tuple)
INTEGERS = st.lists(NUMBERS, max_size=4).map(tuple)
MESSAGES: st.SearchStrategy[WorkerMessage] = st.one_of(
    st.builds(LookUp, TEXTS, TEXTS, TEXTS, TEXTS, LISTS, NUMBERS),
    st.builds(OpenStart, TEXTS, TEXTS, TEXTS, TEXTS, NUMBERS),
    st.builds(ReadKeyFile, TEXTS, TEXTS, NUMBERS, NUMBERS, INTEGERS, NUMBERS, NUMBERS),
    st.builds(LookedUp, TEXTS, LISTS),
    st.builds(StartOpened, ERRORS, NUMBERS, TEXTS, TEXTS),
    st.builds(KeyFileRead, NUMBERS, TEXTS, TEXTS, NUMBERS, INTEGERS),
    st.builds(NotAnswered, ERRORS),
    st.builds(StartWorker, NUMBERS, NUMBERS, INTEGERS),
    st.just(KillWorker()),
)


@given(st.integers(0, (1 << 64) - 1), MESSAGES)
def test_a_message_is_the_same_after_its_way(number: int, message: WorkerMessage) -> None:
    assert decode(encode(number, message)) == (number, message)


@given(MESSAGES, st.data())
def test_a_packet_that_is_cut_off_or_goes_on_is_no_message(message: WorkerMessage, data: st.DataObject) -> None:
    packet = encode(1, message)
    with pytest.raises(MessageError):
        decode(packet[: data.draw(st.integers(0, len(packet) - 1))])
    with pytest.raises(MessageError):
        decode(packet + b"\0")


@pytest.mark.parametrize("number", [-1, MAX_ERRNO + 1, 1 << 40])
def test_a_number_that_no_error_has_is_no_answer(number: int) -> None:
    for answer in (NotAnswered(number), StartOpened(number, 0, b"", b"")):
        with pytest.raises(MessageError, match="no error number"):
            decode(encode(1, answer))


@given(st.binary(max_size=100))
def test_any_bytes_are_a_message_or_an_error(packet: bytes) -> None:
    try:
        number, message = decode(packet)
    except MessageError:
        return
    assert encode(number, message) == packet


def test_a_false_count_of_elements_is_refused_before_anything_is_allocated() -> None:
    packet = encode(1, LookedUp(b"", ()))
    with pytest.raises(MessageError, match="cut off"):
        decode(packet[:-4] + b"\xff\xff\xff\xff")


def test_the_size_of_a_message_is_bounded() -> None:
    assert len(encode(1, OpenStart(b"", b"x" * (MAX_PACKET - 100), b"", b""))) <= MAX_PACKET
    with pytest.raises(ValueError, match=f"the maximum is {MAX_PACKET}"):
        encode(1, OpenStart(b"", b"x" * MAX_PACKET, b"", b""))
