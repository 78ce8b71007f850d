"""The streams of an attachment track their offsets, and report which bytes of the output never arrived."""

from __future__ import annotations

import pytest

from farhand_client.output import OutputStream
from farhand_client.streams import AttachmentStreams
from farhand_protocol import messages as m
from farhand_protocol.outcome import Exited


def ended(stdout: int, stderr: int = 0) -> m.Ended:
    return m.Ended(outcome=Exited(code=0), stdout=stdout, stderr=stderr, duration=1, lingered=False)


def streams(offset: int = 0, *, tolerant: bool = False) -> tuple[AttachmentStreams, OutputStream]:
    """Return streams of which only stdout is wanted, and its reader."""
    both = AttachmentStreams(tolerant=tolerant)
    reader = OutputStream(lambda count: None, "id")
    both.add("stdout", reader, offset)
    return both, reader


def test_bytes_and_gaps_move_the_expected_offset() -> None:
    both, reader = streams(5)
    assert (both.expected("stdout"), both.expected("stderr")) == (5, None)
    both.feed("stdout", b"abc")
    assert both.expected("stdout") == 8
    both.gap(m.GapNotice(stream="stdout", offset=8, bytes=100))
    assert both.expected("stdout") == 108
    assert reader.read_nowait() == [b"abc"]


def test_bytes_of_a_lost_connection_return_no_credit() -> None:
    both, _ = streams()
    both.feed("stdout", bytes(10))
    assert both.consumed("stdout", 4) == 4
    both.reopened(window=100)
    both.feed("stdout", bytes(10))
    assert both.consumed("stdout", 5) == 0
    assert both.consumed("stdout", 5) == 4, "six bytes arrived over the lost connection"


def test_unread_bytes_beyond_the_window_are_requested_again() -> None:
    both, reader = streams()
    for _ in range(3):
        both.feed("stdout", bytes(10))
    both.reopened(window=15)
    assert both.expected("stdout") == 10
    assert reader.read_nowait() == [bytes(10)]


def test_an_ended_stream_is_not_requested_again() -> None:
    both, _ = streams()
    both.feed("stdout", bytes(30))
    both.end("stdout")
    both.reopened(window=15)
    assert both.expected("stdout") == 30


@pytest.mark.parametrize(
    ("total", "tolerant", "missing"),
    [
        (12, True, []),
        (12, False, ["10 of 12 bytes of stdout were no longer kept"]),
        (20, True, ["only 2 of 20 bytes of stdout arrived"]),
    ],
)
def test_missing_output_is_counted(total: int, tolerant: bool, missing: list[str]) -> None:
    both, _ = streams(tolerant=tolerant)
    both.feed("stdout", b"ab")
    both.gap(m.GapNotice(stream="stdout", offset=2, bytes=10))
    assert both.missing(ended(total, stderr=7)) == missing


def test_discarded_output_is_not_missing() -> None:
    both, reader = streams()
    both.discard()
    assert both.missing(ended(9)) == []
    assert reader.read_nowait() is None
