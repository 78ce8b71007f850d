"""What is sent through a forward, and what receives it: plain sockets in threads. Each function blocks."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from typing import Final

from tests.support.sshd import LOOPBACK

CHUNK: Final = 256 << 10

DATAGRAM: Final = bytes(200)
"""A datagram: about as long as an answer of the DNS."""

IN_FLIGHT: Final = 64
"""Datagrams under way at once: fewer than any queue between both ends holds."""

ARRIVAL_TIMEOUT: Final = 10.0
"""Seconds without a datagram after which the rest counts as lost."""


def streamed(listener: socket.socket, port: int, size: int, *, to_target: bool) -> float:
    """Return the seconds in which `size` bytes arrive, from `port` at the `listener` or the other way round."""
    with socket.create_connection((LOOPBACK, port)) as near, listener.accept()[0] as far:
        source, sink = (near, far) if to_target else (far, near)
        block = bytes(CHUNK)

        def send() -> None:
            left = size
            while left:
                left -= source.send(block[:left])

        began = time.perf_counter()
        thread = threading.Thread(target=send)
        thread.start()
        buffer, received = bytearray(CHUNK), 0
        while received < size:
            received += (count := sink.recv_into(buffer))
            if not count:
                raise RuntimeError(f"the connection has ended after {received} bytes")
        seconds = time.perf_counter() - began
        thread.join()
        return seconds


@contextlib.contextmanager
def echoing(listener: socket.socket) -> Iterator[None]:
    """Send back what arrives on each connection, for any number at once."""
    near, far = socket.socketpair()
    with selectors.DefaultSelector() as selector, near, far:
        listener.setblocking(False)
        selector.register(listener, selectors.EVENT_READ)
        selector.register(far, selectors.EVENT_READ)

        def serve() -> None:
            while True:
                for key, _ in selector.select():
                    if key.fileobj is far:
                        return
                    if key.fileobj is listener:
                        with contextlib.suppress(BlockingIOError):
                            selector.register(listener.accept()[0], selectors.EVENT_READ)
                        continue
                    sock = key.fileobj
                    assert isinstance(sock, socket.socket)
                    data = b""
                    with contextlib.suppress(OSError):
                        data = sock.recv(CHUNK)
                        sock.sendall(data)
                    if not data:
                        selector.unregister(sock)
                        sock.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            near.close()
            thread.join()
            for key in list(selector.get_map().values()):
                if key.fileobj is not listener and isinstance(key.fileobj, socket.socket):
                    key.fileobj.close()
            listener.setblocking(True)


def connected(port: int, count: int) -> list[float]:
    """Make `count` connections one after the other, and return the seconds from each connect to its echoed byte."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        with socket.create_connection((LOOPBACK, port)) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(b"x")
            if sock.recv(1) != b"x":
                raise RuntimeError("the connection has ended without an answer")
        times.append(time.perf_counter() - began)
    return times


def all_at_once(port: int, count: int) -> float:
    """Make `count` connections, use each twice while all are open, and return the seconds for that."""
    began = time.perf_counter()
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.create_connection((LOOPBACK, port))) for _ in range(count)]
        for text in (b"one", b"two"):
            for sock in socks:
                sock.sendall(text)
            for sock in socks:
                if sock.recv(3, socket.MSG_WAITALL) != text:
                    raise RuntimeError("a connection was lost")
    return time.perf_counter() - began


def datagrams(target: socket.socket, port: int, count: int) -> float:
    """Send `count` datagrams, `IN_FLIGHT` at once, and return how many arrive at the `target` each second."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near:
        near.connect((LOOPBACK, port))
        target.settimeout(ARRIVAL_TIMEOUT)
        room = threading.Semaphore(IN_FLIGHT)
        ended = threading.Event()

        def send() -> None:
            for _ in range(count):
                room.acquire()
                if ended.is_set():
                    return
                near.send(DATAGRAM)

        thread = threading.Thread(target=send)
        began = last = time.perf_counter()
        thread.start()
        arrived = 0
        with contextlib.suppress(TimeoutError):
            while arrived < count:
                target.recv(1 << 16)
                arrived += 1
                last = time.perf_counter()
                room.release()
        ended.set()
        room.release()
        thread.join()
        return arrived / (last - began)
