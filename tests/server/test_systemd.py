"""Messages to the service manager, and sockets from it, with real sockets and descriptors."""

import asyncio
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from farhand_server import systemd
from farhand_server.systemd import Notifier, listen_sockets


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The receiving end of NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(10)
        yield receiver


def received(manager: socket.socket) -> str:
    return manager.recv(4096).decode()


class TestNotifying:
    def test_each_state_of_the_service_is_reported(self, manager: socket.socket) -> None:
        notifier = Notifier(manager.getsockname())
        assert notifier.ready("serving")
        assert received(manager) == "READY=1\nSTATUS=serving"
        assert notifier.reloading()
        assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", received(manager))
        assert notifier.status("3 runs")
        assert received(manager) == "STATUS=3 runs"
        assert notifier.stopping("draining")
        assert received(manager) == "STOPPING=1\nSTATUS=draining"
        notifier.close()

    def test_the_socket_may_be_abstract(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind("")  # Linux chooses an abstract name, unix(7)
            notifier = Notifier("@" + manager.getsockname()[1:].decode())
            assert notifier.ready("serving")
            assert received(manager) == "READY=1\nSTATUS=serving"
            notifier.close()

    def test_a_status_cannot_contain_another_assignment(self, manager: socket.socket) -> None:
        notifier = Notifier(manager.getsockname())
        notifier.status("user x\nMAINPID=1\r\n done")
        assert received(manager) == "STATUS=user x MAINPID=1 done"
        notifier.close()

    def test_without_a_manager_nothing_is_sent(self) -> None:
        assert not Notifier().ready("serving")

    def test_a_missing_manager_is_not_an_error(self, tmp_path: Path) -> None:
        notifier = Notifier(str(tmp_path / "nobody"))
        assert not notifier.ready("serving")
        notifier.close()

    def test_a_manager_that_does_not_read_does_not_block_the_service(self, manager: socket.socket) -> None:
        notifier = Notifier(manager.getsockname())
        while notifier.status("again"):
            pass
        notifier.close()


class TestEnvironment:
    def test_the_variables_are_used_and_removed(self, manager: socket.socket) -> None:
        environ = {
            "NOTIFY_SOCKET": manager.getsockname(),
            "WATCHDOG_USEC": "30000000",
            "WATCHDOG_PID": str(os.getpid()),
            "HOME": "/",
        }
        notifier = Notifier.from_environment(environ)
        assert notifier.ready("serving")
        assert notifier.watchdog_timeout == 30.0
        assert environ == {"HOME": "/"}
        notifier.close()

    @pytest.mark.parametrize(
        "environ",
        [
            {},
            {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"},
            {"WATCHDOG_USEC": "soon"},
            {"WATCHDOG_USEC": "-5"},
            {"WATCHDOG_USEC": "0"},
        ],
    )
    def test_without_a_valid_watchdog_for_this_process_there_is_no_timeout(self, environ: dict[str, str]) -> None:
        assert Notifier.from_environment(environ).watchdog_timeout is None

    def test_an_address_of_another_kind_is_ignored(self) -> None:
        assert not Notifier.from_environment({"NOTIFY_SOCKET": "vsock:2:1234"}).ready("serving")


class TestWatchdog:
    def test_the_interval_is_half_the_timeout(self) -> None:
        assert Notifier(watchdog=30.0).watchdog_interval == 15.0
        assert Notifier().watchdog_interval is None

    async def test_watchdog_messages_are_sent_until_cancelled(self, manager: socket.socket) -> None:
        manager.setblocking(False)
        loop = asyncio.get_running_loop()
        notifier = Notifier(manager.getsockname(), watchdog=0.2)
        watchdog = asyncio.create_task(notifier.keep_watchdog())
        started = loop.time()
        for _ in range(3):
            assert await loop.sock_recv(manager, 100) == b"WATCHDOG=1"
        assert loop.time() - started >= 0.2
        watchdog.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watchdog
        notifier.close()

    async def test_without_a_manager_the_watchdog_returns_at_once(self) -> None:
        await Notifier().keep_watchdog()


FIRST = 900
"""The first descriptor in these tests, instead of 3, which the test's process needs itself. So high that the process,
whose descriptors get the lowest free numbers, does not reach it, and below the usual limit of 1024."""


def activate(monkeypatch: pytest.MonkeyPatch, kinds: str, names: str) -> tuple[list[str], dict[str, str]]:
    """Pass sockets to this process as systemd does; return a line for each one found, and the environment left."""
    monkeypatch.setattr(systemd, "FIRST_DESCRIPTOR", FIRST)
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(kinds.split(","))), "LISTEN_FDNAMES": names}
    environ["A"] = "b"
    passed = []
    for number, kind in enumerate(kinds.split(","), FIRST):
        assert not Path(f"/proc/self/fd/{number}").exists(), "something else has this descriptor"
        if kind != "missing":
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as sock:
                sock.bind(("127.0.0.1", 0))
                if kind == "listening":
                    sock.listen()
                passed.append(os.dup2(sock.fileno(), number, inheritable=True))
    lines: list[str] = []
    try:
        for name, found in listen_sockets(environ):
            number = found.fileno()
            lines.append(f"{name} {number} {found.family.name} {found.get_inheritable()} {found.gettimeout()}")
            found.detach()
    except ValueError as error:
        lines = [str(error)]
    finally:
        for number in passed:
            os.close(number)
    return lines, environ


class TestActivation:
    def test_sockets_have_names_and_are_not_inheritable_and_the_variables_are_removed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert activate(monkeypatch, "listening,listening", "edge:other") == (
            [f"edge {FIRST} AF_INET False 0.0", f"other {FIRST + 1} AF_INET False 0.0"],
            {"A": "b"},
        )

    def test_a_socket_without_a_name_is_called_unknown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert activate(monkeypatch, "listening,listening", "edge")[0][1].startswith(f"unknown {FIRST + 1}")

    @pytest.mark.parametrize("kind", ["udp", "bound"])
    def test_a_socket_that_does_not_listen_is_refused(self, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
        assert activate(monkeypatch, kind, "edge") == (
            [f"LISTEN_FDS: descriptor {FIRST} is not a listening stream socket"],
            {"A": "b"},
        )

    def test_a_missing_descriptor_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert activate(monkeypatch, "missing", "edge")[0] == [f"LISTEN_FDS: descriptor {FIRST}: Bad file descriptor"]

    @pytest.mark.parametrize("pid", [None, "1", "x"])
    def test_sockets_for_another_process_are_ignored(self, pid: str | None) -> None:
        environ = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "edge"} | ({} if pid is None else {"LISTEN_PID": pid})
        assert listen_sockets(environ) == []
        assert environ == {}

    def test_a_count_that_is_not_a_number_is_refused(self) -> None:
        with pytest.raises(ValueError, match="LISTEN_FDS is not a number: '-1'"):
            listen_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "-1"})

    @pytest.mark.needs("systemd-socket-activate")
    def test_sockets_of_systemd_socket_activate_are_accepted(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        script = (
            "from farhand_server.systemd import listen_sockets\n"
            "[(name, sock)] = listen_sockets()\n"
            "sock.setblocking(True)\n"
            "sock.accept()[0].sendall(f'{name} {sock.family.name}'.encode())\n"
        )
        command = ["systemd-socket-activate", "--fdname=edge", "-l", str(path), sys.executable, "-c", script]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            assert process.stderr.readline().startswith("Listening on")
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                assert client.recv(100) == b"edge AF_UNIX"
            process.stderr.read()
        assert process.returncode == 0
