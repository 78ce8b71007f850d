"""The core's end of one worker: sends questions, and gives each answer to who waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import weakref
from collections import deque
from collections.abc import Callable
from typing import Final

from .messages import KeyFileRead, MessageError, NotAnswered, StartOpened, WorkerAnswer, decode, receive

ANSWERS_PER_TURN: Final = 4
"""Answers in one turn of the loop: as many as runs are launched in one (`start_queue.LAUNCHES_PER_TURN`), each of which
needs one."""


class WorkerGone(Exception):
    """The worker has ended, or has answered with something that is no answer."""


class WaitingAnswer:
    """One question that has been asked. `answered` is called once, with the answer, which is an `expected` one or
    `NotAnswered`, and its descriptor; or with the reason why there is none."""

    __slots__ = ("answered", "expected", "packet", "timer")

    def __init__(
        self,
        packet: bytes,
        expected: type[WorkerAnswer],
        answered: Callable[[WorkerAnswer | Exception, int | None], None],
    ) -> None:
        self.packet: Final = packet
        self.expected: Final = expected
        self.answered: Final = answered
        self.timer: asyncio.TimerHandle | None = None


class WorkerChannel:
    """The socket to one worker. `number` is that of the order to start it."""

    def __init__(self, number: int, channel: socket.socket, on_change: Callable[[WorkerChannel], None]) -> None:
        """`on_change` is called when an answer has arrived, and when the worker is gone."""
        self.number: Final = number
        self.waiting: dict[int, WaitingAnswer] = {}
        """The questions without an answer, by their numbers."""
        self.gone = False
        self._socket = channel
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._unsent: deque[bytes] = deque()
        weakref.finalize(self, channel.close)  # if the loop is closed first
        channel.setblocking(False)
        self._loop.add_reader(channel, self._readable)

    def ask(self, number: int, question: WaitingAnswer) -> None:
        """Send a question."""
        self.waiting[number] = question
        self._unsent.append(question.packet)
        if len(self._unsent) == 1:
            self._send()

    def close(self) -> None:
        """Close the socket, which ends a worker that does not hang. Questions without an answer are forgotten."""
        if not self.gone:
            self.gone = True
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()

    def _send(self) -> None:
        try:
            while self._unsent:
                self._socket.send(self._unsent[0])
                self._unsent.popleft()
        except BlockingIOError:
            self._loop.add_writer(self._socket, self._writable)
        except OSError as error:
            # Not from inside `ask`: whoever asks must get the question's future first.
            self._loop.call_soon(self._end, WorkerGone(error.strerror))

    def _writable(self) -> None:
        self._loop.remove_writer(self._socket)
        self._send()

    def _readable(self) -> None:
        for _ in range(ANSWERS_PER_TURN):
            if self.gone or not self._receive():
                return

    def _receive(self) -> bool:
        """Deal with one answer, and return whether there may be another."""
        try:
            packet, attached, lost = receive(self._socket)
        except BlockingIOError:
            return False
        except OSError as error:
            self._end(WorkerGone(error.strerror))
            return False
        try:
            if not packet:
                raise WorkerGone("the worker has ended")
            number, answer = decode(packet)
            if not isinstance(answer, WorkerAnswer):
                raise WorkerGone("the worker has answered with a question")
            waited = self.waiting.get(number)
            if waited is not None and not isinstance(answer, waited.expected | NotAnswered):
                raise WorkerGone("the worker has answered another question")
            if attached and not isinstance(answer, StartOpened | KeyFileRead):
                raise WorkerGone("the worker has sent a descriptor that nobody expects")
        except (MessageError, WorkerGone) as error:
            _close(attached)
            self._end(WorkerGone(str(error)))
            return False
        self.waiting.pop(number, None)
        if waited is None:
            _close(attached)  # nobody waits for it any more
        elif lost:
            _close(attached)
            waited.answered(OSError(errno.EMFILE, os.strerror(errno.EMFILE)), None)
        else:
            waited.answered(answer, attached[0] if attached else None)
        self._on_change(self)
        return bool(self.waiting)

    def _end(self, why: WorkerGone) -> None:
        if self.gone:
            return
        self.close()
        self._on_change(self)
        waiting, self.waiting = self.waiting, {}
        for waited in waiting.values():
            waited.answered(why, None)


def _close(fds: list[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
