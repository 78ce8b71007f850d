"""A worker's threads. Each reads a question from the same socket, answers it, and reads the next.

So a question that hangs holds up one thread, and no question is passed from one thread to another.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
import time
from typing import Final

from .looking import answer
from .messages import MAX_PACKET, MessageError, NotAnswered, WorkerAnswer, WorkerQuestion, decode, encode

MAX_THREADS: Final = 16
"""Questions that a worker deals with at once. Each takes well below a millisecond, unless its path hangs; so this is
how many paths may hang before the user's other questions wait. A thread takes some 50 KiB."""


class WorkerThreads:
    """Answers the questions that arrive on a socket, until its other end is closed."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._threads = 1
        self._idle = 1

    def serve(self) -> None:
        """Answer questions in this thread, and in others while this one is busy. Return when the core is gone."""
        while True:
            try:
                packet = self._channel.recv(MAX_PACKET)
            except InterruptedError:
                continue
            except OSError:
                return
            if not packet:
                return
            self._leave_one_waiting()
            self._answer(packet)
            with self._lock:
                self._idle += 1

    def _leave_one_waiting(self) -> None:
        with self._lock:
            self._idle -= 1
            if self._idle or self._threads == MAX_THREADS:
                return
            self._threads += 1
            self._idle += 1
        try:
            threading.Thread(target=self._serve_and_end, daemon=True).start()
        except RuntimeError:  # the user has no process left (RLIMIT_NPROC)
            with self._lock:
                self._threads -= 1
                self._idle -= 1

    def _serve_and_end(self) -> None:
        self.serve()
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)  # wakes the other threads

    def _answer(self, packet: bytes) -> None:
        number, attached = 0, None
        said: WorkerAnswer
        try:
            number, question = decode(packet)
            if not isinstance(question, WorkerQuestion):
                raise MessageError("no question")
            if question.deadline < time.monotonic_ns():
                return  # it has waited for a thread until nobody waited for it
            said, attached = answer(question)
            sent = encode(number, said)
        except OSError as error:
            sent = encode(number, NotAnswered(error.errno or errno.EIO))
        except (ValueError, MemoryError, RecursionError):
            sent = encode(number, NotAnswered(errno.EINVAL))
        try:
            with contextlib.suppress(OSError):
                if attached is None:
                    self._channel.send(sent)
                else:
                    socket.send_fds(self._channel, [sent], [attached])
        finally:
            if attached is not None:
                os.close(attached)
