"""A kept process is found while it lives, and leaves nothing that looks alive after any death."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from farhand_client.kept.place import KeptError, kept_place, kept_places, log_path

KEEPER = """
import os, signal, socket, sys
from farhand_client.kept.place import kept_place
place = kept_place(sys.argv[1])
assert place.take() is not None
listening = socket.socket(socket.AF_UNIX)
listening.bind(str(place.socket))
listening.listen()
print("ready", flush=True)
signal.pause()
"""


def keeper(host: str) -> subprocess.Popen[bytes]:
    """Start a process that holds the place of `host`."""
    process = subprocess.Popen([sys.executable, "-c", KEEPER, host], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_a_killed_process_leaves_nothing_that_looks_alive() -> None:
    with keeper("web") as killed, keeper("db") as other:
        places = sorted([kept_place("web"), kept_place("db")])
        assert kept_places() == places
        assert kept_place("web").take() is None
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert kept_places() == [kept_place("db")]
        assert not kept_place("web").socket.exists()
        assert not kept_place("web").lock.exists()
        other.send_signal(signal.SIGKILL)
    assert kept_places() == []


def test_a_stale_socket_gives_way_to_a_new_process() -> None:
    with keeper("web") as killed:
        killed.send_signal(signal.SIGKILL)
    place = kept_place("web")
    assert place.socket.exists()
    lock = place.take()
    assert lock is not None
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place.socket))
        assert place.is_alive()
        place.remove()
        os.close(lock)
    assert list(place.lock.parent.iterdir()) == []


def test_the_files_are_only_for_their_user(runtime: Path) -> None:
    place = kept_place("web")
    lock = place.take()
    assert lock is not None
    assert stat.S_IMODE(place.lock.stat().st_mode) == 0o600
    assert stat.S_IMODE((runtime / "farhand").stat().st_mode) == 0o700
    os.close(lock)


def test_hosts_have_places_and_logs_of_their_own(tmp_path: Path) -> None:
    assert len({kept_place(host) for host in ("web", "me@web", "web:7000")}) == 3
    assert log_path("web").parent == tmp_path / "state/farhand/forwards"
    assert log_path("me@web").name.startswith("me@web-")
    assert "/" not in log_path("unix:/run/x/y").name
    assert log_path("a/b") != log_path("a_b")
    assert len(log_path("x" * 300).name) < 60


def test_nothing_is_kept_where_there_is_no_directory(runtime: Path) -> None:
    assert kept_places() == []


@pytest.mark.parametrize("value", ["", "relative", "/nonexistent/run"])
def test_without_a_runtime_directory_a_sentence_says_what_to_do(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", value)
    with pytest.raises(KeptError, match=r"XDG_RUNTIME_DIR names none; run farhand forward without -f"):
        kept_place("web")


def test_a_runtime_directory_that_is_too_deep_is_named(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = runtime / ("x" * 90)
    deep.mkdir(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    with pytest.raises(KeptError, match="too long for a Unix socket"):
        kept_place("web")


def test_a_place_that_cannot_be_used_is_named() -> None:
    place = kept_place("web")
    place.lock.symlink_to("/etc/passwd")
    with pytest.raises(KeptError, match=f"cannot use {place.lock}"):
        place.take()
