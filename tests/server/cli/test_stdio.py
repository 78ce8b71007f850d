"""`farhandd stdio` joins stdin and stdout to the service's socket, and says how to start one where there is none."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from farhand_protocol.stdio import NO_SERVICE, STDIO_READY
from farhand_server.cli.stdio import plain_socket, socket_paths
from farhand_server.config import find_file, load

TIMEOUT = 30.0
"""Seconds, for a process to start and end on a busy machine."""

STDIO = (sys.executable, "-m", "farhand_server", "stdio")


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        listening.settimeout(TIMEOUT)
        yield listening


class Joined:
    """A `farhandd stdio` whose stdin and stdout are one socket, as sshd gives it, and its connection."""

    def __init__(self, listener: socket.socket) -> None:
        command = [*STDIO, "--socket", listener.getsockname()]
        self.carrier, theirs = socket.socketpair()
        end = theirs.fileno()
        self.process = subprocess.Popen(command, stdin=end, stdout=end, stderr=subprocess.PIPE)
        theirs.close()
        self.service, _ = listener.accept()
        for each in (self.carrier, self.service):
            each.settimeout(TIMEOUT)

    def __enter__(self) -> Joined:
        return self

    def __exit__(self, *_: object) -> None:
        self.carrier.close()
        self.service.close()
        self.process.kill()
        self.process.communicate(timeout=TIMEOUT)

    def ready(self) -> None:
        assert received(self.carrier, len(STDIO_READY)) == STDIO_READY

    def ended(self) -> int:
        return self.process.wait(TIMEOUT)


def received(source: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (part := source.recv(count - len(data))):
        data += part
    return data


def test_both_ways_and_both_ends_are_passed_on(listener: socket.socket) -> None:
    with Joined(listener) as joined:
        joined.ready()
        joined.carrier.sendall(b"hello")
        assert received(joined.service, 5) == b"hello"
        joined.carrier.shutdown(socket.SHUT_WR)
        assert joined.service.recv(1) == b""
        joined.service.sendall(b"the last words")
        joined.service.close()
        assert received(joined.carrier, 100) == b"the last words"
        assert joined.ended() == 0


def test_it_ends_when_the_service_closes_the_connection(listener: socket.socket) -> None:
    with Joined(listener) as joined:
        joined.ready()
        joined.service.close()
        assert joined.ended() == 0


def test_it_ends_when_the_program_that_started_it_is_gone(listener: socket.socket) -> None:
    with Joined(listener) as joined:
        joined.ready()
        joined.carrier.close()
        assert joined.service.recv(1) == b""
        joined.service.close()
        assert joined.ended() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_it(number: signal.Signals, listener: socket.socket) -> None:
    with Joined(listener) as joined:
        joined.ready()
        joined.process.send_signal(number)
        assert joined.ended() == -number
        assert joined.service.recv(1) == b""


def test_a_reader_that_stops_holds_up_the_writer_in_bounded_memory(listener: socket.socket) -> None:
    with Joined(listener) as joined:
        joined.ready()
        joined.service.settimeout(1.0)
        sent, limit = 0, 16 << 20
        with contextlib.suppress(TimeoutError):
            while sent < limit:
                sent += joined.service.send(bytes(1 << 16))
        assert sent < limit
        assert len(received(joined.carrier, sent)) == sent


def test_bulk_data_arrives_whole_both_ways_at_once(listener: socket.socket) -> None:
    data = os.urandom(1 << 20) * 8
    with Joined(listener) as joined:
        joined.ready()
        senders = [
            threading.Thread(target=each.sendall, args=(data,), daemon=True)
            for each in (joined.carrier, joined.service)
        ]
        there: list[bytes] = []
        reader = threading.Thread(target=lambda: there.append(received(joined.service, len(data))), daemon=True)
        for thread in (*senders, reader):
            thread.start()
        assert received(joined.carrier, len(data)) == data
        reader.join(TIMEOUT)
        assert there == [data]


def test_pipes_and_files_will_do(listener: socket.socket, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"from a file")
    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("ab") as sink:
        process = subprocess.Popen([*STDIO, f"--socket={listener.getsockname()}"], stdin=source, stdout=sink)
        service, _ = listener.accept()
        with service:
            service.settimeout(TIMEOUT)
            assert received(service, 100) == b"from a file"
            service.sendall(b"to a file")
        assert process.wait(TIMEOUT) == 0
    assert (tmp_path / "out").read_bytes() == STDIO_READY + b"to a file"


@pytest.mark.parametrize("directory", ["", "there is none"])
def test_without_a_service_it_says_how_to_start_one(directory: str, tmp_path: Path) -> None:
    path = str(tmp_path / directory / "s")
    if not directory:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(path)
    done = subprocess.run(
        [*STDIO, "--socket", path], stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False
    )
    assert done.returncode == NO_SERVICE
    assert done.stdout == b""
    assert done.stderr.startswith(f"farhandd: no service answers on {path}; start one: farhandd serve".encode())


def test_a_socket_that_cannot_be_used_is_named() -> None:
    done = subprocess.run(
        [*STDIO, "--socket", "/" + "x" * 200],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == NO_SERVICE
    assert b"cannot connect to the service's socket /xxx" in done.stderr


def test_a_mistake_in_its_options_is_reported_by_the_parser() -> None:
    done = subprocess.run([*STDIO, "--sokcet", "x"], capture_output=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 2
    assert b"did you mean --socket?" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "plain"),
    [
        (["stdio"], (True, None)),
        (["stdio", "--socket", "/s"], (True, "/s")),
        (["stdio", "--socket=/s"], (True, "/s")),
        (["stdio", "--socket"], (False, None)),
        (["stdio", "--help"], (False, None)),
        (["stdio", "--socket", "-x"], (False, None)),
        (["serve"], (False, None)),
    ],
)
def test_plain_arguments_need_no_parser(arguments: list[str], plain: tuple[bool, str | None]) -> None:
    assert plain_socket(arguments) == plain


CONFIGS = [
    None,
    "",
    'socket = "/run/own.sock"',
    'socket = "{runtime}/own.sock"',
    'socket = "~/own.sock"',
    'state_dir = "/var/own"',
    'state_dir = "{state}/own"\nsocket = "{state}/own.sock"',
    'listen = ["0.0.0.0:7022"]\n[edge]\nsocket = "/run/edge.sock"',
]

ENVIRONMENTS: list[dict[str, str]] = [
    {},
    {"XDG_RUNTIME_DIR": "/run/user/7"},
    {"XDG_RUNTIME_DIR": "relative", "XDG_STATE_HOME": "/state"},
    {"XDG_STATE_HOME": "/state", "XDG_RUNTIME_DIR": "/run/user/7"},
]


@pytest.mark.parametrize("uid", [0, 1000])
@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("config", CONFIGS)
def test_the_first_place_is_where_a_service_with_this_environment_listens(
    config: str | None, environment: Mapping[str, str], uid: int, tmp_path: Path
) -> None:
    environment = {**environment, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    (tmp_path / "config/farhand").mkdir(parents=True)
    if config is not None:
        (tmp_path / "config/farhand/farhandd.toml").write_text(config)
    service = load(find_file(environment, uid), environ=environment, uid=uid)
    assert socket_paths(environment, uid)[0] == str(service.socket)


def test_a_service_of_another_session_and_the_systems_come_after_it() -> None:
    assert socket_paths({"HOME": "/home/ann"}, 1000) == [
        "/home/ann/.local/state/farhand/farhandd.sock",
        "/run/user/1000/farhand/farhandd.sock",
        "/run/farhand/farhandd.sock",
    ]


def test_a_configuration_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "farhand").mkdir()
    for text in (b"socket = [", b"socket = '\xff'", b"socket = 'relative'", b"socket = 7"):
        (tmp_path / "farhand/farhandd.toml").write_bytes(text)
        found = socket_paths({"HOME": "/h", "XDG_CONFIG_HOME": str(tmp_path), "XDG_RUNTIME_DIR": "/r"}, 1000)
        assert found[0] == "/r/farhand/farhandd.sock"


def test_it_is_quick_to_start() -> None:
    code = (
        "import sys; sys.argv = ['farhandd', 'stdio', '--socket', '/nowhere']; import farhand_server.cli as c; c.main()"
    )
    code += "; print(*sorted({'argparse', 'pydantic', 'typing', 'asyncio', 'pathlib', 'logging'} & {*sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path += {sys.path!r}; {code}"], capture_output=True
    )
    assert done.stdout == b"\n", done.stderr
