"""The service's side of a run on the direct path."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

from farhand_client.direct.running import DirectRun
from farhand_client.direct.signals import CollectedSignals
from farhand_client.direct.wire import Wire
from farhand_client.direct.words import plain_command
from farhand_client.ui.unread_stdin import UnreadStdin
from farhand_protocol import messages as m
from farhand_protocol.connection import DEFAULT_LIMITS
from farhand_protocol.frames import Kind, encode_frame
from farhand_protocol.outcome import Exited, Outcome
from tests.support import pairs
from tests.support.fake_runs import ID
from tests.support.pairs import frames, message

STARTED = message(1, m.Started(pid=7))


WELCOME = {"type": "welcome", "features": (), "limits": {"message": 65536, "data": 1024, "window": 4096, "channels": 9}}


def out(data: bytes, kind: int = Kind.STDOUT) -> bytes:
    return encode_frame(kind, 1, data)


def ended(outcome: Outcome | None = None, stdout: int = 0, stderr: int = 0, **more: Any) -> bytes:
    outcome = outcome or Exited(code=0)
    return message(1, m.Ended(outcome=outcome, stdout=stdout, stderr=stderr, duration=0.5, **more))


def whole(data: bytes) -> list[pairs.Frame]:
    """Return the whole frames in `data`."""
    end = 0
    while len(data) - end >= 8 and (size := 8 + int.from_bytes(data[end : end + 3], "big")) <= len(data) - end:
        end += size
    return frames(data[:end])


class Peer:
    """The service's end of the connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(20)
        self.data = b""

    def send(self, *frames_: bytes) -> None:
        self.sock.sendall(b"".join(frames_))

    def until(self, kind: type[m.Message]) -> m.AnyMessage:
        """Wait for a message."""
        while True:
            for frame in whole(self.data):
                if frame.kind == Kind.MESSAGE and isinstance(found := m.decode(frame.payload, DEFAULT_LIMITS), kind):
                    return found
            received = self.sock.recv(65536)
            assert received, "the client has closed the connection"
            self.data += received


@contextlib.contextmanager
def acting(
    script: Callable[[Peer], None], *options: str, made: Callable[[socket.socket], Wire] = Wire
) -> Iterator[DirectRun]:
    """Run `script` as the service of a run, which is requested."""
    ours, theirs = socket.socketpair()
    peer = Peer(theirs)
    failures: list[BaseException] = []

    def act() -> None:
        try:
            script(peer)
        except BaseException as error:  # noqa: BLE001  # raised below
            failures.append(error)

    thread = threading.Thread(target=act)
    wire = made(ours)
    wire.login_done = True
    command = plain_command(["--id", ID, *options, "web", "prog"], lambda: None)
    with CollectedSignals() as signals:
        run = DirectRun(wire, WELCOME, {"type": "accepted"}, command, signals, UnreadStdin(None), None)
        thread.start()
        try:
            run.request()
            yield run
        finally:
            run.close()
            wire.close()
            thread.join(20)
            theirs.close()
    if failures:
        raise failures[0]
