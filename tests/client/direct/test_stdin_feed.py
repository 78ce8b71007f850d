"""Stdin is sent as the credit allows, and kept until the program has read it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from farhand_client.direct.stdin_feed import StdinFailed, StdinFeed
from farhand_client.direct.wire import Wire
from farhand_protocol.errors import RemoteProtocolError
from farhand_protocol.frames import Kind
from tests.support.pairs import frames


@contextmanager
def as_stdin(fd: int) -> Iterator[None]:
    kept = os.dup(0)
    os.dup2(fd, 0)
    try:
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)


class Fed:
    """A feed whose stdin is a pipe, and the service's end of its connection."""

    def __init__(self, window: int) -> None:
        ours, self.service = socket.socketpair()
        self.service.settimeout(20)
        self.wire = Wire(ours)
        self.feed = StdinFeed(self.wire, 3, window, 4)
        self.feed.open = True

    def sent(self) -> list[tuple[int, bytes]]:
        self.wire.close()
        data = b""
        while more := self.service.recv(65536):
            data += more
        self.service.close()
        return [(frame.kind, frame.payload) for frame in frames(data)]


@pytest.fixture
def pipe() -> Iterator[int]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with as_stdin(reading):
        yield writing
    os.close(reading)
    os.close(writing)


def test_what_is_read_is_sent_in_frames_as_far_as_the_credit_goes(pipe: int) -> None:
    fed = Fed(window=6)
    fed.feed.read()  # there is nothing yet
    os.write(pipe, b"0123456789")
    fed.feed.read()
    before = fed.feed.wanted
    assert (fed.feed.offset, b"".join(fed.feed.unread)) == (0, b"0123456789")
    fed.feed.granted(3)
    assert (fed.feed.offset, b"".join(fed.feed.unread)) == (3, b"3456789")
    fed.feed.granted(5)
    assert (before, fed.feed.wanted) == (False, True), "first what was read has to be sent"
    assert (fed.feed.offset, b"".join(fed.feed.unread)) == (8, b"89")
    assert fed.sent() == [(Kind.STDIN, load) for load in (b"0123", b"45", b"678", b"9")]


def test_the_end_is_said_once_all_is_read() -> None:
    fed = Fed(window=9)
    null = os.open(os.devnull, os.O_RDONLY)
    with as_stdin(null):
        fed.feed.read()
    os.close(null)
    assert fed.feed.ended
    assert not fed.feed.wanted
    assert fed.sent() == [(Kind.MESSAGE, b'{"type":"end","stream":"stdin"}')]


def test_stdin_that_cannot_be_read_is_given_up() -> None:
    fed = Fed(window=9)
    directory = os.open("/", os.O_RDONLY)
    with as_stdin(directory), pytest.raises(StdinFailed, match=r"^Is a directory$"):
        fed.feed.read()
    os.close(directory)
    assert not fed.feed.wanted
    assert fed.sent() == []


def test_more_credit_than_there_is_room_for_is_refused() -> None:
    fed = Fed(window=9)
    with pytest.raises(RemoteProtocolError):
        fed.feed.granted(1 << 60)
    assert fed.sent() == []
