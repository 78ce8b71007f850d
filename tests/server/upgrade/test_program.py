"""The new program is tried before anything changes, and no signal is lost between the two programs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from farhand_server.runs.process.process import prepare_loop
from farhand_server.upgrade import program
from farhand_server.upgrade.program import (
    UpgradeRefused,
    block_signals,
    execute,
    resumed_command,
    try_program,
    unblock_signals,
)


@pytest.fixture
def snapshot() -> Iterator[int]:
    """A file in place of a snapshot."""
    fd = os.memfd_create("snapshot")
    os.write(fd, b"state")
    yield fd
    os.close(fd)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Install a shell script as the new program; its arguments are `--check-resume FD`."""

    def install(script: str) -> None:
        path = tmp_path / "program"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(path))
        monkeypatch.setattr(sys, "orig_argv", ["python"])

    return install


async def tried(fd: int) -> str:
    prepare_loop()
    return await try_program(fd)


def test_the_new_program_is_started_as_this_one_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["/old/python", "-m", "farhand_server", "serve", "--listen", ":7022"])
    assert resumed_command("--resume", 7) == [
        sys.executable, "-m", "farhand_server", "serve", "--listen", ":7022", "--resume", "7",
    ]  # fmt: skip


def test_a_program_that_has_resumed_itself_passes_on_only_the_newer_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "farhand_server", "serve", "--resume", "5"])
    assert resumed_command("--resume", 7)[1:] == ["-m", "farhand_server", "serve", "--resume", "7"]


async def test_a_program_that_reads_the_snapshot_is_accepted(install: Callable[[str], None], snapshot: int) -> None:
    install('[ "$1" = --check-resume ] && [ "$(cat /proc/self/fd/$2)" = state ] && echo resumable 0.2.0')
    assert await tried(snapshot) == "0.2.0"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo details >&2; echo the snapshot is too old >&2; exit 1", "the snapshot is too old$"),
        ("exit 3", "it exited with 3$"),
        ("echo hello", "it exited with 0$"),
        ("kill -9 $$", "it exited with -9$"),
    ],
)
async def test_a_program_that_does_not_read_the_snapshot_is_refused_with_its_last_line_of_output(
    install: Callable[[str], None], snapshot: int, script: str, reason: str
) -> None:
    install(script)
    with pytest.raises(UpgradeRefused, match=f"the new program cannot continue this service: {reason}"):
        await tried(snapshot)


async def test_a_program_that_takes_too_long_is_killed(
    install: Callable[[str], None], snapshot: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("exec sleep 60")
    monkeypatch.setattr(program, "TRIAL_TIMEOUT", 0.05)
    with pytest.raises(UpgradeRefused, match=r"did not read the snapshot within 0\.05 s"):
        await tried(snapshot)


async def test_a_program_that_cannot_be_started_is_refused(snapshot: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(UpgradeRefused, match="cannot be started: No such file or directory"):
        await tried(snapshot)


async def test_a_program_that_cannot_be_executed_inherits_nothing(
    snapshot: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    other = os.open("/dev/null", os.O_RDONLY)
    with pytest.raises(FileNotFoundError):
        execute(snapshot, [other], {})
    assert not os.get_inheritable(snapshot)
    assert not os.get_inheritable(other)
    os.close(other)


async def test_signals_that_have_arrived_are_handled_and_later_ones_wait() -> None:
    handled: list[int] = []
    loop = asyncio.get_running_loop()
    main = threading.get_ident()  # the tests' process has other threads, which block nothing
    loop.add_signal_handler(signal.SIGUSR2, handled.append, 1)
    try:
        signal.pthread_kill(main, signal.SIGUSR2)
        before = await block_signals()
        assert handled == [1]
        signal.pthread_kill(main, signal.SIGUSR2)
        for _ in range(10):
            await asyncio.sleep(0)
        assert handled == [1]
        assert signal.SIGUSR2 in signal.sigpending()
        unblock_signals(before)
        for _ in range(10):
            await asyncio.sleep(0)
        assert handled == [1, 1]
    finally:
        loop.remove_signal_handler(signal.SIGUSR2)
