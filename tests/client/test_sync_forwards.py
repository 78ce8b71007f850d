"""Forwards for scripts without asyncio: context managers with a port, and sockets that block."""

from __future__ import annotations

import pickle
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from farhand_client import ForwardError, ForwardEvent, sync
from farhand_client.forwards.specs import parse_spec
from farhand_protocol.features import FORWARDS
from tests.support.fake_forward_worker import FakeWorkers
from tests.support.serving import ServiceThread, serving


@contextmanager
def forwarding(directory: Path) -> Iterator[sync.Client]:
    """A blocking client of a fake service that forwards."""
    with serving_forwards(directory) as service, sync.connect(service.host) as client:
        yield client


@contextmanager
def serving_forwards(directory: Path) -> Iterator[ServiceThread]:
    with serving(directory, lambda run: FakeWorkers().behave(run)) as service:
        service.features = (FORWARDS,)
        yield service


@contextmanager
def echo_server(family: socket.AddressFamily, address: object) -> Iterator[socket.socket]:
    """A server that sends one message back to each client."""
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind(address)  # type: ignore[arg-type]  # of either family
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    accepted, _ = listener.accept()
                except OSError:
                    return
                with accepted:
                    while data := accepted.recv(1024):
                        accepted.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def exchanged(sock: socket.socket) -> bytes:
    with sock:
        sock.sendall(b"hello")
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile("rb") as file:
            return file.read()


def test_forwards_and_single_connections_block(tmp_path: Path) -> None:
    events: list[ForwardEvent] = []
    with forwarding(tmp_path) as client, echo_server(socket.AF_INET, ("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with client.forward_local("127.0.0.1", port, watch=events.append) as forward:
            assert exchanged(socket.create_connection(("127.0.0.1", forward.port))) == b"hello"
        with client.forward_remote("127.0.0.1", port, listen_host="127.0.0.1") as back:
            assert exchanged(socket.create_connection(("127.0.0.1", back.port))) == b"hello"
            assert str(back.address) == f"127.0.0.1:{back.port}"
        assert exchanged(client.open_connection("127.0.0.1", port)) == b"hello"
        for remote in (False, True):
            with client.forward_socks(remote=remote, listen_host="127.0.0.1") as socks:
                sock = socket.create_connection(("127.0.0.1", socks.port))
                sock.sendall(b"\x04\x01" + port.to_bytes(2) + b"\x7f\0\0\x01\0")
                assert sock.recv(8)[:2] == b"\0\x5a"
                assert exchanged(sock) == b"hello"
    assert [event.kind for event in events] == ["opened", "closed"]


def test_unix_sockets_and_forwards_of_the_command_line(tmp_path: Path) -> None:
    with forwarding(tmp_path) as client, echo_server(socket.AF_UNIX, str(tmp_path / "there")):
        assert exchanged(client.open_unix_connection(tmp_path / "there")) == b"hello"
        with client.forward(parse_spec("-L", f"{tmp_path}/here:{tmp_path}/there")) as forward:
            assert forward.path == str(tmp_path / "here")
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(forward.path)
                assert exchanged(sock) == b"hello"


def test_a_forward_stops_listening_and_waits_for_its_end(tmp_path: Path) -> None:
    with forwarding(tmp_path) as client, echo_server(socket.AF_INET, ("127.0.0.1", 0)) as server:
        forward = client.forward_local("127.0.0.1", server.getsockname()[1])
        sock = socket.create_connection(("127.0.0.1", forward.port))
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        assert (len(forward.connections), forward.listens) == (1, True)
        forward.stop_listening()
        assert (exchanged(sock), forward.listens) == (b"hello", False)
        forward.wait_closed()
        forward.close()
        assert repr(forward).startswith("<blocking LocalForward")


def test_errors_are_those_of_the_asyncio_api(tmp_path: Path) -> None:
    with forwarding(tmp_path) as client:
        with pytest.raises(ForwardError) as raised:
            client.open_unix_connection(tmp_path / "missing")
        assert raised.value.cause == "refused"
        with (
            client.forward_local("web", 80) as forward,
            pytest.raises(TypeError, match="a forward cannot be pickled or copied"),
        ):
            pickle.dumps(forward)
