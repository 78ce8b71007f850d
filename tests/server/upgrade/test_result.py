"""Whoever asked for an upgrade hears how it went, from the service and from nobody else."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from farhand_server.upgrade.result import NoUpgradeResult, UpgradeResult, announce_result, receive_result, result_socket
from tests.support.client import PATIENCE

UPGRADED = UpgradeResult(result="upgraded", version="0.2.0", runs=3, away=0.25)


def test_a_verdict_arrives_and_leaves_nothing_behind(tmp_path: Path) -> None:
    service = tmp_path / "farhandd.sock"
    pidfd = os.pidfd_open(os.getpid())
    with result_socket(service) as receiver:
        announce_result(service, UPGRADED)
        assert receive_result(receiver, os.getpid(), pidfd, PATIENCE) == UPGRADED
    os.close(pidfd)
    assert list(tmp_path.iterdir()) == []


def test_a_long_reason_is_cut_and_told(tmp_path: Path) -> None:
    service = tmp_path / "farhandd.sock"
    pidfd = os.pidfd_open(os.getpid())
    with result_socket(service) as receiver:
        announce_result(service, UpgradeResult(result="refused", reason="because " * 10_000))
        assert len(receive_result(receiver, os.getpid(), pidfd, PATIENCE).reason) == 1000
    os.close(pidfd)


def test_a_verdict_of_a_stranger_counts_for_nothing(tmp_path: Path) -> None:
    service = tmp_path / "farhandd.sock"
    pidfd = os.pidfd_open(os.getpid())
    with result_socket(service) as receiver:
        announce_result(service, UPGRADED)
        with pytest.raises(NoUpgradeResult, match="another process has answered"):
            receive_result(receiver, os.getppid(), pidfd, PATIENCE)
    os.close(pidfd)


def test_the_end_of_the_service_ends_the_waiting(tmp_path: Path) -> None:
    child = os.posix_spawn("/bin/true", ["true"], {})
    pidfd = os.pidfd_open(child)
    with (
        result_socket(tmp_path / "farhandd.sock") as receiver,
        pytest.raises(NoUpgradeResult, match="the service has ended"),
    ):
        receive_result(receiver, child, pidfd, PATIENCE)
    os.waitpid(child, 0)
    os.close(pidfd)


def test_silence_is_waited_out_no_longer_than_said(tmp_path: Path) -> None:
    pidfd = os.pidfd_open(os.getpid())
    with (
        result_socket(tmp_path / "farhandd.sock") as receiver,
        pytest.raises(NoUpgradeResult, match=r"no answer .* within 0\.05 s"),
    ):
        receive_result(receiver, os.getpid(), pidfd, 0.05)
    os.close(pidfd)


def test_what_a_dead_caller_has_left_is_removed_and_files_of_others_stay(tmp_path: Path) -> None:
    service = tmp_path / "farhandd.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(tmp_path / "upgrade-1"))
    (tmp_path / "upgrade-notes").write_text("mine")
    announce_result(service, UPGRADED)
    assert [path.name for path in tmp_path.iterdir()] == ["upgrade-notes"]
