"""A worker answers several questions at once, and goes on while some of them hang."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from farhand_server.worker import serving
from farhand_server.worker.messages import LookedUp, LookUp, NotAnswered, WorkerQuestion, decode, encode, receive
from farhand_server.worker.serving import MAX_THREADS, WorkerThreads

NEVER = (1 << 63) - 1


@contextmanager
def worker() -> Iterator[socket.socket]:
    """The core's end of a worker that runs in threads of this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(10)
    with ours, theirs:
        serving_thread = threading.Thread(target=WorkerThreads(theirs).serve)
        serving_thread.start()
        yield ours
        ours.shutdown(socket.SHUT_RDWR)
        serving_thread.join(10)
        assert not serving_thread.is_alive()


def ask(core: socket.socket, number: int, name: bytes = b"", deadline: int = NEVER) -> None:
    core.send(encode(number, LookUp(name, b"/bin", b"/", b"", (), deadline)))


def test_questions_are_answered_while_as_many_hang_as_there_are_other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hang(question: WorkerQuestion) -> tuple[LookedUp, None]:
        if isinstance(question, LookUp) and question.program == b"hangs":
            released.wait(30)
        return LookedUp(b"", ()), None

    monkeypatch.setattr(serving, "answer", hang)
    with worker() as core:
        for number in range(MAX_THREADS - 1):
            ask(core, number, b"hangs")
        for number in range(100, 120):
            ask(core, number)
            assert decode(receive(core)[0]) == (number, LookedUp(b"", ()))
        released.set()
        answered = {decode(receive(core)[0])[0] for _ in range(MAX_THREADS - 1)}
        assert answered == set(range(MAX_THREADS - 1))


def test_a_question_whose_deadline_has_passed_is_left_unanswered() -> None:
    with worker() as core:
        ask(core, 1, deadline=time.monotonic_ns() - 1)
        ask(core, 2)
        assert decode(receive(core)[0])[0] == 2


@pytest.mark.parametrize("error", [OSError(13, "no"), ValueError(), MemoryError()])
def test_an_error_is_an_answer(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(question: WorkerQuestion) -> tuple[LookedUp, None]:
        raise error

    monkeypatch.setattr(serving, "answer", fail)
    with worker() as core:
        ask(core, 1)
        number, answer = decode(receive(core)[0])
        assert (number, type(answer)) == (1, NotAnswered)


def test_what_is_no_question_is_answered_with_an_error() -> None:
    with worker() as core:
        for packet in (b"nonsense", encode(7, LookedUp(b"", ()))):
            core.send(packet)
            assert isinstance(decode(receive(core)[0])[1], NotAnswered)


def test_without_a_process_left_to_its_user_a_worker_answers_one_question_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = threading.Thread.start

    def none_left(thread: threading.Thread) -> None:
        if thread.daemon:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", none_left)
    with worker() as core:
        for number in range(5):
            ask(core, number)
            assert decode(receive(core)[0])[0] == number


def test_a_descriptor_is_closed_once_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    attached = os.open("/", os.O_PATH)
    monkeypatch.setattr(serving, "answer", lambda question: (LookedUp(b"", ()), attached))
    with worker() as core:
        ask(core, 1)
        _, fds, _ = receive(core)
        os.close(fds[0])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(attached)
