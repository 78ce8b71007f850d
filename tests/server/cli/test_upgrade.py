"""`farhandd upgrade` signals the service and reports its result; without a suitable service it says why."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from farhand_server.upgrade.result import UpgradeResult, announce_result
from tests.server.cli.conftest import CommandLine


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Path]:
    """Let this process listen like a service; return its socket."""
    path = tmp_path / "run/farhand/farhandd.sock"
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(os.fspath(path))
        listening.listen()
        yield path


@pytest.fixture
def results() -> Iterator[list[tuple[Path, UpgradeResult]]]:
    """Handle SIGUSR2 as a service does: announce each of these results beside its socket."""
    results: list[tuple[Path, UpgradeResult]] = []

    def upgrade(number: int, frame: object) -> None:
        for path, result in results:
            announce_result(path, result)

    before = signal.signal(signal.SIGUSR2, upgrade)
    yield results
    signal.signal(signal.SIGUSR2, before)


def test_a_finished_upgrade_is_reported(
    farhandd: CommandLine, service: Path, results: list[tuple[Path, UpgradeResult]]
) -> None:
    results.append((service, UpgradeResult(result="upgraded", version="9.9", runs=3, away=0.25)))
    result = farhandd("upgrade")
    assert (result.code, result.err) == (0, "")
    expected = f"farhandd: upgraded to 9.9 (pid {os.getpid()}); 3 runs continued, 0.25 s without service\n"
    assert result.out == expected


def test_one_run_that_continues_is_one_run(
    farhandd: CommandLine, service: Path, results: list[tuple[Path, UpgradeResult]]
) -> None:
    results.append((service, UpgradeResult(result="upgraded", version="9.9", runs=1, away=0.25)))
    assert "; 1 run continued, " in farhandd("upgrade").out


def test_a_refused_upgrade_is_an_error_with_its_reason(
    farhandd: CommandLine, service: Path, results: list[tuple[Path, UpgradeResult]]
) -> None:
    results.append((service, UpgradeResult(result="refused", reason="it is draining")))
    result = farhandd("upgrade")
    assert (result.code, result.out) == (1, "")
    assert result.err == "farhandd: not upgraded, the service continues unchanged: it is draining\n"


def test_a_service_that_gives_no_result_in_time_is_an_error(
    farhandd: CommandLine,
    service: Path,
    results: list[tuple[Path, UpgradeResult]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("farhand_server.cli.upgrade.UPGRADE_TIMEOUT", 0.01)
    result = farhandd("upgrade")
    assert (result.code, result.out) == (1, "")
    assert "0.01 s" in result.err


def test_a_service_that_does_not_handle_the_signal_is_not_signalled(farhandd: CommandLine, service: Path) -> None:
    result = farhandd("upgrade")
    sentence = f"the service (pid {os.getpid()}) cannot be upgraded: it is still starting, or too old"
    assert (result.code, result.err) == (1, f"farhandd: {sentence}\n")


def test_a_missing_service_is_an_error(farhandd: CommandLine, tmp_path: Path) -> None:
    result = farhandd("upgrade")
    path = tmp_path / "run/farhand/farhandd.sock"
    assert (result.code, result.err) == (
        1,
        f"farhandd: cannot connect to a service on {path}: No such file or directory\n",
    )
