"""The programs with which tutorials teach remote work: each server is a detached run, each client a plain socket.

Clients are written as in the tutorials, and know nothing of Farhand: they connect to a forward on this side, over IPv4,
IPv6 or a Unix socket, and so the server is reached over the same.
"""

from __future__ import annotations

import hashlib
import json
import random
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pytest

from tests.support import tutorial_servers
from tests.support.remote_shells import RemoteShells
from tests.support.tutorial_servers import STREAMS, Page

TIMEOUT = 30.0
"""Seconds that a client waits for an answer, which comes at once."""

FAMILIES = ("IPv4", "IPv6", "Unix")
LENGTH = struct.Struct(">I")

SERVERS = tutorial_servers.__file__


@dataclass
class Tutorials:
    """The forwards to the servers: for each program and family where this side listens."""

    addresses: dict[tuple[str, str], tuple[str, int] | str] = field(default_factory=dict)

    @contextmanager
    def connected(self, program: str, family: str) -> Iterator[socket.socket]:
        """Connect as a tutorial's client does."""
        address = self.addresses[program, family]
        kind = {"IPv4": socket.AF_INET, "IPv6": socket.AF_INET6, "Unix": socket.AF_UNIX}[family]
        with socket.socket(kind, socket.SOCK_STREAM if program in STREAMS else socket.SOCK_DGRAM) as client:
            client.settimeout(TIMEOUT)
            client.connect(address)
            yield client


@pytest.fixture(scope="module")
def tutorials(shells: RemoteShells, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tutorials]:
    """All servers on the other machine, and one `farhand forward` with a forward to each of their addresses."""
    directory = tmp_path_factory.mktemp("tutorials")
    made = Tutorials()
    specs: list[str] = []
    wanted: list[tuple[str, str]] = []
    for program in (*STREAMS, "datagrams"):
        families = FAMILIES if program in STREAMS else FAMILIES[:2]
        there = dict(zip(FAMILIES, ("127.0.0.1", "::1", f"{directory}/{program}"), strict=True))
        for family, port in zip(families, start(shells, program, [there[each] for each in families]), strict=True):
            if family == "Unix":
                specs.append(f"{directory}/{program}.here:{port}")
            else:
                host = "[::1]" if family == "IPv6" else "127.0.0.1"
                specs.append(f"{'' if program in STREAMS else 'udp:'}{host}:0:{host}:{port}")
            wanted.append((program, family))
    with forwarded(shells, [word for spec in specs for word in ("-L", spec)]) as ports:
        for (program, family), spec in zip(wanted, specs, strict=True):
            if family == "Unix":
                made.addresses[program, family] = spec.partition(":")[0]
            else:
                made.addresses[program, family] = ("::1" if family == "IPv6" else "127.0.0.1", int(ports.readline()))
        yield made


@contextmanager
def forwarded(shells: RemoteShells, options: list[str]) -> Iterator[IO[str]]:
    """Run `farhand forward`, and yield its stdout: a line for each port that it has chosen."""
    env = dict(shells.farhand.env)
    with subprocess.Popen(
        ["farhand", "forward", "web", *options], env=env, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.terminate()


def start(shells: RemoteShells, program: str, addresses: list[str]) -> list[str]:
    """Start a server on the other machine, and leave it there; return the lines that it prints."""
    env = dict(shells.farhand.env)
    run = ("farhand", "run", "--detach", "web", "--", sys.executable, SERVERS, program, *addresses)
    id = subprocess.run(run, env=env, check=True, stdout=subprocess.PIPE, text=True, timeout=TIMEOUT).stdout.strip()
    with subprocess.Popen(["farhand", "logs", "-f", "web", id], env=env, stdout=subprocess.PIPE, text=True) as logs:
        assert logs.stdout is not None
        lines = [logs.stdout.readline().strip() for _ in addresses]
        logs.kill()
    return lines


def read_until_end(client: socket.socket) -> bytes:
    """Read as tutorials do: as much as comes, until nothing does."""
    data = b""
    while more := client.recv(4096):
        data += more
    return data


def exactly(client: socket.socket, count: int) -> bytes:
    """Read as the later chapters do: as often as it takes."""
    data = b""
    while len(data) < count:
        more = client.recv(count - len(data))
        assert more, "the server has ended too soon"
        data += more
    return data


@pytest.mark.parametrize("family", FAMILIES)
def test_hello(tutorials: Tutorials, family: str) -> None:
    with tutorials.connected("hello", family) as client:
        assert read_until_end(client) == b"hi"


@pytest.mark.parametrize("family", FAMILIES[:2])
def test_hello_by_datagrams(tutorials: Tutorials, family: str) -> None:
    with tutorials.connected("datagrams", family) as client:
        for name in (b"Ada", b"Grace", "Ólafur".encode()):
            client.send(name)
            assert client.recv(2048) == b"Hello, " + name + b"!"


@pytest.mark.parametrize("family", FAMILIES)
def test_an_echo_that_ends_on_q(tutorials: Tutorials, family: str) -> None:
    with tutorials.connected("echo", family) as client:
        for word in (b"one", b"two words", b"x" * 1000):
            client.sendall(word)
            assert exactly(client, len(word)) == word
        client.sendall(b"q")
        assert client.recv(1024) == b""


@pytest.mark.parametrize("family", FAMILIES)
def test_a_server_with_threads_serves_many_clients_at_once(tutorials: Tutorials, family: str) -> None:
    everybody = threading.Barrier(20)
    answers: list[bytes] = []

    def converse(name: str) -> None:
        with tutorials.connected("welcome", family) as client:
            assert exactly(client, 8) == b"welcome!"
            everybody.wait(TIMEOUT)  # all are connected, and nobody has been answered
            for _ in range(3):
                client.sendall(name.encode())
                answers.append(exactly(client, len(f"hello,{name}!")))
            client.sendall(b"exit")
            assert client.recv(1024) == b""

    threads = [threading.Thread(target=converse, args=[f"client {number}"]) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * TIMEOUT)
    assert sorted(answers) == sorted(f"hello,client {number}!".encode() for number in range(20) for _ in range(3))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_page_is_fetched_by_a_raw_request(tutorials: Tutorials, tmp_path: Path, family: str) -> None:
    with tutorials.connected("page", family) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
        head, _, body = read_until_end(client).partition(b"\r\n\r\n")
    (tmp_path / "page.html").write_bytes(body)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert (tmp_path / "page.html").read_bytes() == Page.body


@pytest.mark.parametrize("family", FAMILIES)
def test_commands_are_answered_with_their_length_in_front(tutorials: Tutorials, family: str) -> None:
    def ask(client: socket.socket, line: str) -> bytes:
        client.sendall(LENGTH.pack(len(line.encode())) + line.encode())
        return exactly(client, LENGTH.unpack(exactly(client, LENGTH.size))[0])

    with tutorials.connected("command", family) as client:
        assert ask(client, "echo hello") == b"hello\n"
        assert b"no-such-program" in ask(client, "no-such-program")
        assert ask(client, "seq 200000") == b"".join(b"%d\n" % number for number in range(1, 200_001))
        assert ask(client, "true") == b""
        assert ask(client, "echo out; echo error >&2") == b"out\nerror\n"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_is_uploaded_with_progress_and_a_digest(tutorials: Tutorials, tmp_path: Path, family: str) -> None:
    content = random.Random(7).randbytes(5_000_000)
    header = json.dumps({"path": str(tmp_path / "uploaded"), "size": len(content)}).encode()
    with tutorials.connected("upload", family) as client:
        client.sendall(LENGTH.pack(len(header)) + header)
        client.sendall(content)
        with client.makefile() as lines:
            answers = [json.loads(line) for line in lines]
    *progress, last = [answer.get("received") for answer in answers]
    assert progress == sorted(progress)
    assert (progress[-1], last) == (len(content), None)
    assert answers[-1] == {"sha256": hashlib.sha256(content).hexdigest()}
    assert (tmp_path / "uploaded").read_bytes() == content
