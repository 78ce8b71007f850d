"""The far side of `farhand up`, with a real service."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from farhand_client.up.there import keeping, program
from farhand_client.up.there.keeping import service_pid
from farhand_client.up.there.program import FarSide, answer
from farhand_client.up.there.record import Record, locked
from farhand_client.up.there.trouble import FarSideError
from tests.support.far_places import far_places, tree_of

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOmhlyVgF2IXs50UVxyJkpjWMAY+y0++h+M970I04y9f me"


class FarMachine:
    """A home below a test's directory, and requests to its far side."""

    def __init__(self, home: Path) -> None:
        self.places = far_places(home)
        self.environ = {"HOME": str(home), "PATH": os.environ["PATH"], "XDG_CONFIG_HOME": str(home / ".config")}

    def ask(self, what: str, payload: bytes = b"", **values: Any) -> dict[str, Any]:
        """Return the whole answer."""
        side = FarSide(self.places, self.environ, 0o022, io.BytesIO(payload))
        return answer(side, {"do": what, **values})

    def install(self, name: str) -> dict[str, Any]:
        """Install what this test runs with: how wheels are unpacked is tested elsewhere."""
        with locked(self.places) as record:
            record.tree(self.places.base / name)
        (self.places.base / name / "bin").mkdir(parents=True)
        (self.places.base / name / "pyvenv.cfg").write_text("")
        for each in ("farhand", "farhandd"):
            (self.places.base / name / "bin" / each).symlink_to(Path(sys.prefix, "bin", each))
        return self.ask("install", name=name, wheels=[], unpacked=0)

    def authorize(self, *listen: str) -> dict[str, Any]:
        return self.ask("authorize", listen=list(listen), keys=[KEY], by_systemd=False, units={}, port=7022)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FarMachine:
    """A machine without systemd: this one's must not be touched."""
    monkeypatch.setattr(keeping, "manager", lambda places, environ: ("detached", "it is not to be used"))
    (tmp_path / "home").mkdir()
    found = FarMachine(tmp_path / "home")
    for name, value in found.environ.items():
        monkeypatch.setenv(name, value)
    for name in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    return found


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it is to outlive its parent
def test_from_nothing_to_a_service_and_back(machine: FarMachine) -> None:
    facts = machine.ask("look")["ok"]
    assert (facts["installed"], facts["pid"], facts["recorded"]) == ([], None, False)
    assert machine.install("1")["ok"]["before"] is None
    settings = machine.authorize()["ok"]
    assert settings["added"] == [KEY]
    assert settings["host_key"].startswith("ssh-ed25519 ")
    started = machine.ask("start", force=False)["ok"]
    assert started["done"] == "started"
    pid = service_pid(Path(settings["socket"]))
    assert pid == started["pid"]
    try:
        assert machine.ask("start", force=False)["ok"]["done"] == "running"
        # Another installation: the process stays, its program is replaced.
        machine.install("2")
        upgraded = machine.ask("start", force=False)["ok"]
        assert (upgraded["done"], upgraded["pid"]) == ("upgraded", pid)
        # Another configuration: nothing runs, so it is started again.
        assert machine.authorize("127.0.0.1:0")["ok"]["config_changed"]
        restarted = machine.ask("start", force=False)["ok"]
        assert restarted["done"] == "restarted"
        assert restarted["pid"] != pid
        pid = restarted["pid"]
        assert machine.ask("look")["ok"]["pid"] == pid
        quiet = machine.environ | {"FARHAND_MUX": "off"}
        farhand, service = str(machine.places.current / "bin/farhand"), f"unix:{settings['socket']}"
        run = [farhand, "run", "--detach", service, "--", "sleep", "600"]
        identity = subprocess.run(run, check=True, env=quiet, capture_output=True, text=True).stdout.strip()
        assert "1 run still going on" in machine.ask("remove", force=False)["failed"]
        machine.authorize()
        assert machine.ask("start", force=False)["ok"]["done"] == "restart needed"
        subprocess.run([farhand, "kill", service, identity], check=True, env=quiet)
        done = machine.ask("remove", force=False)["ok"]
        assert (done["removed"], done["port"]) == (True, 7022)
    finally:
        if pid is not None and service_pid(Path(settings["socket"])) is not None:
            os.kill(pid, signal.SIGKILL)
    assert tree_of(machine.places.home) == []
    assert machine.ask("remove", force=False)["ok"]["removed"] is False


def test_a_refused_upgrade_goes_on_with_the_old_version(machine: FarMachine) -> None:
    places = machine.places
    for name, script in (("1", "exit 0"), ("2", "echo no >&2; exit 1")):
        (places.base / name / "bin").mkdir(parents=True)
        (places.base / name / "pyvenv.cfg").write_text("")
        (places.base / name / "bin/farhandd").write_text(f"#!/bin/sh\n{script}\n")
        (places.base / name / "bin/farhandd").chmod(0o755)
    machine.ask("install", name="2", wheels=[], unpacked=0)
    record = Record.load(places.record_file)
    record.facts |= {program.RUNNING: "1", program.MANNER: "detached"}
    side = FarSide(places, machine.environ, 0o022, io.BytesIO())
    with pytest.raises(FarSideError, match=r"goes on with the old version: .* no"):
        side.upgrade(record)
    assert os.readlink(places.current) == "1"  # noqa: PTH115  # the text


def test_a_service_of_somebody_else_is_left_alone(machine: FarMachine) -> None:
    import socket

    machine.ask("install", name="1", wheels=[], unpacked=0)
    path = machine.places.home / "s"
    record = Record.load(machine.places.record_file)
    record.facts[program.SOCKET] = str(path)
    record.save()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        failed = machine.ask("start", force=False)
    assert "has not started runs here" in failed["failed"]
    assert failed["advice"] == "stop it first"


def test_requests_from_stdin_are_answered_behind_the_mark_until_it_ends(tmp_path: Path) -> None:
    code = "from farhand_client.up.there.program import main; main('MARK')"
    requests = b'{"do": "look"}\n{"do": "remove", "force": false}\n'
    environ = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], input=requests, env=environ, capture_output=True, check=True)
    answers = done.stdout.splitlines()
    assert [each.partition(b" ")[0] for each in answers] == [b"MARK", b"MARK"]
    assert "ok" in json.loads(answers[0].partition(b" ")[2])
