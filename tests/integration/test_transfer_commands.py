"""`farhand put`, `get` and `sync` against a real service, at a terminal and without one."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from tests.support.command import FARHAND, farhand, json_lines
from tests.support.service import Service
from tests.support.tmux import Screen

SIZE = 24 << 20
"""Bytes of a file that takes some seconds at `RATE`."""

RATE = "2M"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory on this side."""
    directory = tmp_path / "here"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The directory on the service's side."""
    directory = tmp_path / "there"
    directory.mkdir()
    return directory


def files(directory: Path) -> dict[bytes, bytes]:
    """Return the content of all files below a directory, by path."""
    found = [Path(os.fsdecode(path), name) for path, _, names in os.walk(directory) for name in names]
    return {bytes(path.relative_to(directory)): path.read_bytes() for path in found}


async def test_a_tree_comes_back_as_it_was_sent(core: Service, here: Path, there: Path) -> None:
    (here / "d/sub").mkdir(parents=True)
    (here / "d/one").write_bytes(os.urandom(3 << 20))
    (here / os.fsdecode(b"d/sub/\xff\n")).write_bytes(b"name of bytes")
    env = core.environment
    done = await farhand("put", core.host, "d", str(there), env=env)
    assert (done.code, done.stdout, done.stderr) == (0, b"", b"")
    assert files(there / "d") == files(here / "d")
    (here / "d/one").unlink()
    (there / "d/two").touch()
    done = await farhand("sync", "--json", "--delete", "d/", f"{core.host}:{there}/d", env=env)
    events = json_lines(done.stdout)
    assert {"event": "deleted", "path": "one"} in events
    assert (events[-1]["event"], events[-1]["deleted"], events[-1]["skipped"]) == ("done", 2, 1)
    done = await farhand("get", "--sha256", core.host, f"{there}/d/sub/*", "back", env=env)
    assert (done.code, files(here / "back")) == (0, {b"\xff\n": b"name of bytes"})
    done = await farhand("get", core.host, f"{there}/missing", f"{there}/d/sub/*", ".", env=env)
    assert (done.code, done.stderr) == (
        1,
        f"farhand: {core.host}:{there}/missing: no such file or directory\nfarhand: 1 file failed\n".encode(),
    )


async def test_what_nobody_reads_ends_as_any_other_output(core: Service, here: Path, there: Path) -> None:
    (there / "big").write_bytes(bytes(8 << 20))
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = await farhand("get", core.host, str(there / "big"), "-", env=core.environment, stdout=writing)
    finally:
        os.close(writing)
    assert (done.code, done.stderr) == (141, b"")


async def test_progress_is_shown_and_after_ctrl_c_the_same_command_goes_on(
    core: Service, here: Path, there: Path, screen: Screen
) -> None:
    (here / "big").write_bytes(os.urandom(SIZE))
    line = shlex.join([*FARHAND, "put", core.host, "big", f"{there}/", "--limit-rate"])
    screen.run(
        "sh",
        "-c",
        f"trap : INT; cd {here}; {line} {RATE}; echo exit $?; {line} 1G; echo exit $?; exec cat",
        env=core.environment,
    )
    await screen.matches(r"^big +━.* [1-9][0-9]% .*/24M\n0/1 files .* left$")  # more than a MiB
    screen.type("", "C-c")
    await screen.matches("^farhand: stopped; to go on, run the same command again; what has arrived is not sent again$")
    await screen.matches("^exit 130$")
    await screen.matches(
        r"^farhand: 1 file, 24 MiB \([1-9][0-9.]* MiB were there, [1-9][0-9.]* MiB sent\), 0 failed in .*\nexit 0$"
    )
    assert (there / "big").read_bytes() == (here / "big").read_bytes()
    assert [path.name for path in there.iterdir()] == ["big"]
