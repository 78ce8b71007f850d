"""`farhand local` runs a command on a private service, and leaves nothing of the service behind."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.command import farhand, running
from tests.support.service import environment


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "t").mkdir()
    return environment(tmp_path) | {"TMPDIR": str(tmp_path / "t")}


async def test_a_command_runs_and_its_exit_code_is_returned(tmp_path: Path, env: dict[str, str]) -> None:
    done = await farhand("local", "--", "sh", "-c", "echo hello; exit 7", env=env)
    assert (done.code, done.stdout, done.stderr) == (7, b"hello\n", b"")
    assert list((tmp_path / "t").iterdir()) == []


async def test_without_a_command_there_is_a_repl(env: dict[str, str]) -> None:
    done = await farhand("local", input=b"echo hi\nexit 3\n", env=env)
    assert (done.code, done.stdout, done.stderr) == (3, b"hi\n", b"")


async def test_a_signal_stops_the_command_and_the_service(tmp_path: Path, env: dict[str, str]) -> None:
    async with running("local", "sh", "-c", "echo ready; exec sleep 60", env=env) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 143
    assert list((tmp_path / "t").iterdir()) == []


async def test_an_unknown_option_is_refused_with_a_hint(env: dict[str, str]) -> None:
    done = await farhand("local", "-x", env=env)
    assert (done.code, b"unknown option -x; put -- before a command that begins with -" in done.stderr) == (2, True)


async def test_a_path_too_long_for_a_socket_is_reported(tmp_path: Path, env: dict[str, str]) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    done = await farhand("local", "true", env=env | {"TMPDIR": str(long)})
    assert (done.code, b"is too long for a socket (unix(7)); set TMPDIR" in done.stderr) == (255, True)
    assert list(long.iterdir()) == []
