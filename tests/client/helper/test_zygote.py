"""The process that keeps children waiting."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from farhand_client.helper import zygote
from farhand_client.helper.child import CHILD_PID
from farhand_client.helper.zygote import WAITING
from tests.support.fronts import Installation, acting_helper
from tests.support.processes import until

pytestmark = [pytest.mark.service, pytest.mark.needs("cc")]


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation.make("python", tmp_path)


def children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


def gone(pids: list[int]) -> bool:
    def is_gone(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "Z"
        except FileNotFoundError:
            return True

    return all(map(is_gone, pids))


@pytest.fixture
def running(installation: Installation) -> Iterator[tuple[Installation, int]]:
    with acting_helper(installation) as helper:
        (pid,) = children(helper.pid)
        yield installation, pid


def test_no_child_waits_before_the_socket_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with socket.socket(socket.AF_UNIX) as listener, ours, theirs:
        listener.bind(str(tmp_path / "socket"))
        listening: list[int] = []

        def fork() -> int:
            listening.append(listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
            raise InterruptedError

        monkeypatch.setattr(os, "fork", fork)
        with pytest.raises(InterruptedError):
            zygote.Zygote(listener, theirs).run()
        assert listening == [1]


def test_a_child_that_is_taken_is_replaced(running: tuple[Installation, int]) -> None:
    installation, pid = running
    until(lambda: len(children(pid)) == WAITING)
    with installation.start("ps", "pid") as front:
        assert front.stdout is not None
        taken = int(front.stdout.readline())
        until(lambda: len(set(children(pid)) - {taken}) == WAITING)
        front.kill()
    until(lambda: len(children(pid)) == WAITING)


def test_a_child_that_ends_before_its_time_is_replaced(running: tuple[Installation, int]) -> None:
    _, pid = running
    until(lambda: len(children(pid)) == WAITING)
    before = children(pid)
    os.kill(before[0], signal.SIGKILL)
    until(lambda: len(set(children(pid)) - {before[0]}) == WAITING)


def test_children_that_end_again_and_again_end_it(running: tuple[Installation, int]) -> None:
    _, pid = running

    def end_children() -> bool:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for child in children(pid):
                os.kill(child, signal.SIGTERM)
        return gone([pid])

    until(end_children)


@pytest.mark.parametrize("how", ["told", "killed"])
def test_waiting_children_end_with_it(installation: Installation, how: str) -> None:
    with acting_helper(installation) as helper:
        (pid,) = children(helper.pid)
        until(lambda: len(children(pid)) == WAITING)
        pids = [pid, *children(pid)]
        if how == "killed":
            os.kill(pid, signal.SIGKILL)
            until(lambda: gone(pids))
    until(lambda: gone(pids))


def test_when_all_children_are_busy_a_front_need_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zygote, "MAX_CHILDREN", 1)
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if not pid:
            try:
                ours.close()
                # The only child is taken, and never ends.
                monkeypatch.setattr(zygote, "run_child", lambda listener, reports, parent: _report_and_wait(reports))
                zygote.Zygote(listener, theirs).run()
            finally:
                os._exit(0)
        theirs.close()
        try:
            with socket.socket(socket.AF_UNIX) as front:
                front.settimeout(30)
                until(lambda: not front.connect_ex(str(path)))
                assert front.recv(1) == b""
        finally:
            for child in children(pid):
                os.kill(child, signal.SIGKILL)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            ours.close()


def _report_and_wait(reports: int) -> None:
    os.write(reports, CHILD_PID.pack(os.getpid()))
    signal.pause()


_IMPORTED = """
import sys
from farhand_client.helper.zygote import load_everything
load_everything()
loaded = {*sys.modules}
from farhand_client import cli
sys.argv = ["farhand", *sys.argv[1:]]
cli.main()
print(*sorted(sys.modules.keys() - loaded), file=sys.stderr)
"""


@pytest.mark.parametrize("command", ["run web -- true", "ps web", "logs web 0123", "kill web 0123"])
def test_a_child_imports_nothing_when_a_command_comes(command: str, tmp_path: Path) -> None:
    arguments = command.replace("web", f"unix:{tmp_path}/none").split()
    done = subprocess.run([sys.executable, "-c", _IMPORTED, *arguments], capture_output=True, text=True, timeout=60)
    assert "there is no socket" in done.stderr
    assert done.stderr.splitlines()[-1] == ""


def test_a_child_has_loaded_what_transfers_files() -> None:
    check = "import farhand_files.receiver, farhand_files.sender, uvloop"
    script = _IMPORTED.partition("from farhand_client import cli")[0] + check + "\nprint(*sys.modules.keys() - loaded)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""


def test_the_models_of_messages_are_built_before_any_child_is_forked() -> None:
    script = (
        "from farhand_client.helper.zygote import load_everything\n"
        "from farhand_protocol.messages.codec import AnyMessage\n"
        "load_everything()\n"
        "print(all(model.__pydantic_complete__ for model in AnyMessage.__args__))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=True)
    assert done.stdout == b"True\n"
