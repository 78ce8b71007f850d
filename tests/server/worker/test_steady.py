"""A path is steady if nobody else can change what it leads to, and nothing on it can hang."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from farhand_server.worker.steady import MAX_PATH_ENTRIES, MAX_QUESTION, MAX_QUICK_STARTS, REMEMBER_TIME, SteadyPaths


@pytest.fixture
def paths() -> SteadyPaths:
    return SteadyPaths()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory of the service's account with a program, a script, and files that others may write."""
    (tmp_path / "prog").write_bytes(Path("/usr/bin/true").read_bytes())
    (tmp_path / "script").write_text(f"#!{tmp_path}/prog\n")
    (tmp_path / "odd-script").write_text("#!/proc/self/exe\n")
    (tmp_path / "open-to-all").mkdir(mode=0o700)
    (tmp_path / "open-to-all/prog").write_bytes(b"\x7fELF")
    (tmp_path / "to-open").symlink_to("open-to-all/prog")
    (tmp_path / "to-bin").symlink_to("/usr/bin")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "to-proc").symlink_to("/proc/self")
    (tmp_path / "lost-script").write_text("#!/gone\n")
    os.mkfifo(tmp_path / "fifo", 0o755)
    for name in ("prog", "script", "odd-script", "lost-script", "open-to-all/prog"):
        (tmp_path / name).chmod(0o755)
    (tmp_path / "open-to-all").chmod(0o777)
    return tmp_path


@pytest.mark.parametrize(
    ("path", "steady"),
    [
        ("/", True),
        ("/usr/bin/env", True),
        ("/usr/../usr/./bin//env", True),
        ("/tmp/gone", True),
        ("{}/prog", True),
        ("{}/to-bin/env", True),
        ("{}/gone/prog", True),
        ("{}/loop", True),
        ("{}/open-to-all", False),
        ("{}/open-to-all/prog", False),
        ("{}/to-open", False),
        ("/proc/self", False),
        ("{}/to-proc/fd", False),
        ("relative", False),
        ("/nul\0", False),
    ],
)
def test_a_path_is_steady_if_all_of_it_is(tree: Path, paths: SteadyPaths, path: str, steady: bool) -> None:
    assert paths.is_steady(path.replace("{}", str(tree)).encode()) is steady


@pytest.mark.needs("root")
def test_what_belongs_to_another_user_is_not_steady(tree: Path, paths: SteadyPaths) -> None:
    os.chown(tree / "prog", 5, 5)
    assert not paths.is_steady(bytes(tree / "prog"))
    os.chown(tree / "to-bin", 5, 5, follow_symlinks=False)
    assert not paths.is_steady(bytes(tree / "to-bin/env"))


@pytest.mark.parametrize(
    ("program", "search", "cwd", "quick"),
    [
        ("true", "/usr/bin:/bin", "/", True),
        ("true", "{}/gone:/usr/bin", "/", True),
        ("gone", "/usr/bin", "/", True),
        ("prog", ".", "{}", True),
        ("./prog", "", "{}", True),
        ("./script", "", "{}", True),
        ("./lost-script", "", "{}", True),
        ("./odd-script", "", "{}", False),
        ("./fifo", "", "{}", True),
        ("{}/to-open", "", "/", False),
        ("prog", "{}/open-to-all", "/", False),
        ("true", "{}/open-to-all:/usr/bin", "/", False),
        ("true", "/usr/bin", "{}/open-to-all", False),
        ("true", "/usr/bin", "relative", False),
        ("true", "/usr/bin", "/proc/self", False),
        ("true", ":".join(["/gone"] * MAX_PATH_ENTRIES) + ":/usr/bin", "/", False),
    ],
)
def test_a_program_can_be_executed_at_once_if_everything_it_needs_is_steady(
    tree: Path, paths: SteadyPaths, program: str, search: str, cwd: str, quick: bool
) -> None:
    name, where, place = (each.replace("{}", str(tree)).encode() for each in (program, search, cwd))
    assert paths.can_start(name, where, place, b"") is quick


def test_a_home_that_is_not_steady_is_not_looked_at(tree: Path, paths: SteadyPaths) -> None:
    home = bytes(tree / "open-to-all")
    assert not paths.can_start(b"true", b"/usr/bin", home, home)
    gone = bytes(tree / "gone")
    assert paths.can_start(b"true", b"/usr/bin", gone, gone)


def test_an_open_file_is_local_if_its_file_system_is(tree: Path, paths: SteadyPaths) -> None:
    for path, local in ((tree, True), (Path("/proc"), False)):
        fd = os.open(path, os.O_PATH)
        assert paths.is_local(fd) is local
        os.close(fd)
    assert not paths.is_local(fd)


class NoMounts:
    """Other tests may mount something in this moment, and then nothing is remembered."""

    def register(self, fd: int, events: int) -> None:
        pass

    def poll(self, timeout: int) -> list[tuple[int, int]]:
        return []


def test_a_program_that_can_be_started_at_once_is_looked_at_again_after_a_second(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farhand_server.worker.steady.select.poll", NoMounts)
    now = 1000.0
    paths = SteadyPaths(lambda: now)
    assert paths.can_start(b"prog", bytes(tree), b"/", b"")
    (tree / "prog").chmod(0o777)
    assert paths.can_start(b"prog", bytes(tree), b"/", b"")
    assert not paths.can_start(b"./prog", b"", bytes(tree), b"")
    now += REMEMBER_TIME
    assert not paths.can_start(b"prog", bytes(tree), b"/", b"")
    (tree / "prog").chmod(0o755)  # what cannot be started at once is not remembered
    assert paths.can_start(b"prog", bytes(tree), b"/", b"")


def test_more_programs_than_can_be_remembered_are_looked_at_again(tree: Path) -> None:
    paths = SteadyPaths(lambda: 0.0)
    long = b":" + b"/gone" * MAX_QUESTION
    assert paths.can_start(b"prog", bytes(tree) + long, b"/", b"")
    (tree / "prog").chmod(0o777)
    assert not paths.can_start(b"prog", bytes(tree) + long, b"/", b"")
    (tree / "prog").chmod(0o755)
    assert paths.can_start(b"prog", bytes(tree), b"/", b"")
    for number in range(MAX_QUICK_STARTS):
        assert paths.can_start(b"gone%d" % number, bytes(tree), b"/", b"")
    (tree / "prog").chmod(0o777)
    assert not paths.can_start(b"prog", bytes(tree), b"/", b"")


MOUNTS = """
import os, subprocess, sys
from farhand_server.worker.steady import SteadyPaths

paths = SteadyPaths(lambda: 0.0)
before = paths.can_start(b"true", b"/usr/bin", os.fsencode(sys.argv[1]), b"")
subprocess.run(["mount", "-t", "proc", "proc", sys.argv[1]], check=True)
print(before, paths.can_start(b"true", b"/usr/bin", os.fsencode(sys.argv[1]), b""))
"""


@pytest.mark.needs("root", "unshare", "mount")
def test_a_new_mount_is_noticed_at_once(tmp_path: Path) -> None:
    shown = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", MOUNTS, tmp_path], capture_output=True, text=True, check=True
    )
    assert shown.stdout == "True False\n"
