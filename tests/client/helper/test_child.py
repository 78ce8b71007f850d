"""What a child keeps between commands. What it becomes for one is tested with the fronts, in `test_front`."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from farhand_client import cli
from farhand_client.helper.child import replace_environment, run_child
from tests.support.fronts import KINDS, Installation


def test_an_environment_is_replaced_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        monkeypatch.delenv(name)
    for name, value in (("KEPT", "1"), ("CHANGED", "old"), ("GONE", "x")):
        monkeypatch.setenv(name, value)
    wanted = {b"NEW": b"\xff", b"CHANGED": b"new", b"KEPT": b"1", b"EMPTY": b""}

    for added in (b"PREVIOUS_COMMAND", b"GONE"):
        replace_environment(wanted)
        assert dict(os.environb) == wanted
        os.environb[added] = b"1"
    replace_environment(dict(wanted))
    assert dict(os.environb) == wanted
    del os.environb[b"NEW"], os.environb[b"EMPTY"]  # monkeypatch knows only the others


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_goes_on_though_the_zygote_is_killed_as_it_begins(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = Installation.make(kind, tmp_path)
    installation.socket.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(installation.socket))
        installation.socket.chmod(0o600)
        listener.listen()
        reports, reporting = os.pipe()
        os.close(reports)
        parent, pid = os.getpid(), os.fork()
        if not pid:
            try:
                monkeypatch.setattr(cli, "main", lambda: os.write(1, b"done") + 1)
                run_child(listener, reporting, parent)
            finally:
                os._exit(1)
        os.close(reporting)
        try:
            assert installation.run("ps", "web") == (5, "done", "")
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
