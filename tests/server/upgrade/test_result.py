"""The caller that requested an upgrade receives its result, from the service and from no other process."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from farhand_server.upgrade.result import NoUpgradeResult, UpgradeResult, announce_result, receive_result, result_socket
from tests.support.client import TIMEOUT

UPGRADED = UpgradeResult(result="upgraded", version="0.2.0", runs=3, away=0.25)


def test_a_result_arrives_and_leaves_nothing_behind(tmp_path: Path) -> None:
    service = tmp_path / "farhandd.sock"
    pidfd = os.pidfd_open(os.getpid())
    with result_socket(service) as receiver:
        announce_result(service, UPGRADED)
        assert receive_result(receiver, os.getpid(), pidfd, TIMEOUT) == UPGRADED
    os.close(pidfd)
    assert list(tmp_path.iterdir()) == []


def test_a_long_reason_is_cut(tmp_path: Path) -> None:
    service = tmp_path / "farhandd.sock"
    pidfd = os.pidfd_open(os.getpid())
    with result_socket(service) as receiver:
        announce_result(service, UpgradeResult(result="refused", reason="because " * 10_000))
        assert len(receive_result(receiver, os.getpid(), pidfd, TIMEOUT).reason) == 1000
    os.close(pidfd)


def test_a_result_from_another_process_is_ignored(tmp_path: Path) -> None:
    service = tmp_path / "farhandd.sock"
    pidfd = os.pidfd_open(os.getpid())
    with result_socket(service) as receiver:
        announce_result(service, UPGRADED)
        with pytest.raises(NoUpgradeResult, match="another process has answered"):
            receive_result(receiver, os.getppid(), pidfd, TIMEOUT)
    os.close(pidfd)


def test_the_end_of_the_service_ends_the_wait(tmp_path: Path) -> None:
    child = os.posix_spawn("/bin/true", ["true"], {})
    pidfd = os.pidfd_open(child)
    with (
        result_socket(tmp_path / "farhandd.sock") as receiver,
        pytest.raises(NoUpgradeResult, match="the service has ended"),
    ):
        receive_result(receiver, child, pidfd, TIMEOUT)
    os.waitpid(child, 0)
    os.close(pidfd)


def test_waiting_ends_after_the_timeout(tmp_path: Path) -> None:
    pidfd = os.pidfd_open(os.getpid())
    with (
        result_socket(tmp_path / "farhandd.sock") as receiver,
        pytest.raises(NoUpgradeResult, match=r"no answer .* within 0\.05 s"),
    ):
        receive_result(receiver, os.getpid(), pidfd, 0.05)
    os.close(pidfd)


def test_a_socket_of_a_dead_caller_is_removed_and_other_files_are_kept(tmp_path: Path) -> None:
    service = tmp_path / "farhandd.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(tmp_path / "upgrade-1"))
    (tmp_path / "upgrade-notes").write_text("mine")
    announce_result(service, UPGRADED)
    assert [path.name for path in tmp_path.iterdir()] == ["upgrade-notes"]
