"""A command asks the helper and is never held up by it: no helper, a foreign one, a silent one, one that breaks off."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from farhand_client.mux import ask
from farhand_client.mux.place import HelperPlace
from farhand_client.mux.request import NOT_SERVED, NOTED, SERVED, ConnectionRequest, frame
from farhand_protocol.frames import Kind, encode_frame

REQUEST = ConnectionRequest(host=b"h")
LOGIN = encode_frame(Kind.MESSAGE, 0, b"welcome") + encode_frame(Kind.MESSAGE, 0, b"accepted")


@contextlib.contextmanager
def helper(directory: Path, act: Callable[[socket.socket], None]) -> Iterator[HelperPlace]:
    """A helper that does `act` with the one connection that it accepts, and then keeps it open."""
    place = HelperPlace(bytes(directory), b"/usr/bin")
    done = threading.Event()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            act(connection)
            done.wait()

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(place.connections)
        listening.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield place
        finally:
            done.set()
            with socket.socket(socket.AF_UNIX) as last:
                last.connect(place.connections)
            thread.join()


def answering(data: bytes) -> Callable[[socket.socket], None]:
    def act(connection: socket.socket) -> None:
        received = b""
        while len(received) < len(REQUEST.encode()) + 8:
            received += connection.recv(4096)
        assert received[8:] == REQUEST.encode()
        connection.sendall(data)

    return act


def test_a_connection_that_is_ready_is_returned_with_what_the_service_has_said(tmp_path: Path) -> None:
    with helper(tmp_path, answering(frame(SERVED) + LOGIN)) as place:
        got = ask.connect(place, REQUEST)
        assert got is not None
        connection, welcome, accepted = got
        assert (welcome, accepted) == (b"welcome", b"accepted")
        assert connection.gettimeout() is None
        connection.close()


def test_a_caller_may_read_that_itself(tmp_path: Path) -> None:
    with helper(tmp_path, answering(frame(SERVED) + LOGIN)) as place:
        connection = ask.borrow(place, REQUEST)
        assert connection is not None
        assert connection.recv(len(LOGIN)) == LOGIN
        connection.close()


def closing(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "act",
    [
        answering(frame(NOT_SERVED)),
        answering(frame(SERVED)[:4]),  # and then nothing
        answering(frame(SERVED) + LOGIN[:-1]),
        answering(frame(SERVED) + encode_frame(Kind.MESSAGE, 0, b"x" * 20_000)),
        lambda connection: None,
        closing,
    ],
)
def test_without_an_answer_the_command_connects_by_itself(tmp_path: Path, act: Callable[[socket.socket], None]) -> None:
    with helper(tmp_path, act) as place:
        assert ask.connect(place, REQUEST) is None


def test_without_a_helper_the_command_connects_by_itself(tmp_path: Path) -> None:
    place = HelperPlace(bytes(tmp_path), b"/usr/bin")
    assert ask.connect(place, REQUEST) is None
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(place.connections)
    assert ask.connect(place, REQUEST) is None, "the socket of one that was killed"
    assert not ask.offer(place, REQUEST)


def test_another_users_helper_is_not_spoken_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with helper(tmp_path, lambda connection: None) as place:
        monkeypatch.setattr("os.geteuid", lambda: 12345)
        assert ask.connect(place, REQUEST) is None


def test_the_peer_is_known(tmp_path: Path) -> None:
    with helper(tmp_path, lambda connection: None) as place:
        connection = ask.reach(place)
        assert connection is not None
        assert ask.peer(connection) == (os.getpid(), os.getuid())
        connection.close()


@pytest.mark.parametrize(("answer", "noted"), [(frame(NOTED), True), (frame(NOT_SERVED), False), (b"", False)])
def test_an_offer_is_noted(tmp_path: Path, answer: bytes, noted: bool) -> None:
    with helper(tmp_path, answering(answer)) as place:
        assert ask.offer(place, REQUEST) is noted
