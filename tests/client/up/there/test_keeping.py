"""A service is started so that it goes on, and stopped for good."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from farhand_client.up.there import keeping
from farhand_client.up.there.keeping import (
    lingers,
    manager,
    serve_words,
    service_pid,
    start_detached,
    stop_detached,
    systemctl,
    systemctl_environment,
    user_unit,
)
from farhand_client.up.there.places import FarPlaces
from farhand_client.up.there.record import Record, locked
from farhand_client.up.there.trouble import FarSideError
from tests.support.far_places import far_places


def program(places: FarPlaces, script: str) -> Record:
    """Make a program instead of farhandd."""
    with locked(places) as record:
        places.farhandd.parent.mkdir(parents=True)
        places.farhandd.write_text(f"#!/bin/sh\n{script}\n")
        places.farhandd.chmod(0o755)
        return record


def fake_systemctl(directory: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> Path:
    path = directory / "bin"
    path.mkdir()
    (path / "systemctl").write_text(f'#!/bin/sh\necho "$@" >>{directory}/called\nexit {code}\n')
    (path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{path}:/usr/bin:/bin")
    return directory / "called"


def test_the_unit_names_every_place_and_quotes_what_systemd_reads_otherwise(tmp_path: Path) -> None:
    text = user_unit(far_places(tmp_path / "a b%c$d"), {"XDG_CONFIG_HOME": '/x"y'})
    home = f"{tmp_path}/a b%%c$$d"
    assert f'ExecStart="{home}/.local/share/farhand/current/bin/farhandd" serve --config "{home}/.config' in text
    assert 'Environment="XDG_CONFIG_HOME=/x\\"y"\n' in text
    assert "Environment" not in user_unit(far_places(tmp_path), {})


def test_root_s_service_has_the_places_of_the_system() -> None:
    places = FarPlaces.of(system=True, environ={})
    assert serve_words(places)[1:] == ["serve", "--config", "/etc/farhand/farhandd.toml"]


def test_a_systemd_that_answers_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = fake_systemctl(tmp_path, monkeypatch, 0)
    assert manager(far_places(tmp_path), dict(os.environ)) == ("systemd --user", "")
    systemctl(far_places(tmp_path), "start", "x", environ=dict(os.environ))
    assert called.read_text().splitlines() == ["--user show-environment", "--user start x"]


def test_without_a_systemd_the_reason_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_systemctl(tmp_path, monkeypatch, 1)
    manner, why = manager(far_places(tmp_path), dict(os.environ))
    assert manner == "detached"
    assert "systemctl --user does not answer" in why
    monkeypatch.setenv("PATH", str(tmp_path))
    assert manager(far_places(tmp_path), dict(os.environ)) == ("detached", "there is no systemd")


def test_a_login_without_pam_finds_its_runtime_directory() -> None:
    assert systemctl_environment({"XDG_RUNTIME_DIR": "/x"}) == {"XDG_RUNTIME_DIR": "/x"}
    expected = {"XDG_RUNTIME_DIR": f"/run/user/{os.getuid()}"} if Path(f"/run/user/{os.getuid()}").is_dir() else {}
    assert systemctl_environment({}) == expected
    assert not lingers("nobody-of-that-name")


def test_who_listens_on_a_socket_is_known(tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert service_pid(path) is None
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        assert service_pid(path) == os.getpid()


def test_a_detached_service_is_in_its_own_session_and_stops_when_told(tmp_path: Path) -> None:
    places = far_places(tmp_path)
    places.state.mkdir(parents=True)
    places.log_file.write_text("before")
    record = program(places, 'umask >&2; env >&2; echo $$ >"$HOME/pid"; echo ready; exec sleep 600')
    process = start_detached(places, record, {"PATH": os.environ["PATH"], "SSH_AUTH_SOCK": "/x", "LANG": "C"}, 0o077)
    pid = int((tmp_path / "pid").read_text())
    try:
        log = places.log_file.read_text()
        assert log.startswith("0077\n")
        assert f"HOME={tmp_path}\n" in log
        assert "SSH_AUTH_SOCK" not in log
        assert places.log_file.with_suffix(".log.old").read_text() == "before"
        assert os.getsid(pid) == pid
    finally:
        stop_detached(pid)
    assert process.wait() == -signal.SIGTERM
    stop_detached(pid)  # it is gone: that is no error


def test_a_service_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    places = far_places(tmp_path)
    record = program(places, "echo the port is taken >&2; exit 1")
    with pytest.raises(FarSideError, match="did not start: the port is taken"):
        start_detached(places, record, dict(os.environ), 0o022)


def test_a_process_that_ignores_term_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "STOP_TIMEOUT_THERE", 0.05)
    words = ["sh", "-c", "trap '' TERM; sleep 600 & echo; wait"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        stop_detached(process.pid)
        assert process.wait(30) == -signal.SIGKILL
        os.killpg(process.pid, signal.SIGKILL)
