"""`farhandd upgrade`: ask the running service to go on as the program that is installed now, and wait for its word."""

from __future__ import annotations

import os
import signal
import socket
import struct
from pathlib import Path
from typing import Final, cast

from farhand_server.config import ServiceConfig
from farhand_server.upgrade.result import NoUpgradeResult, receive_result, result_socket

from .main import CommandFailed

UPGRADE_TIMEOUT: Final = 90.0
"""Seconds until the service must have said how it went: thirty for the trial, five for runs that are just starting, and
the start of the new program and its edge, thirty at the most."""

_UCRED: Final = struct.Struct("=iII")


def upgrade(config: ServiceConfig) -> int:
    """Upgrade the service that listens on the configured socket."""
    pid = _listener(config.socket)
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        raise CommandFailed(f"the service on {config.socket} has just ended") from None
    try:
        if not _catches(pid, signal.SIGUSR2):
            raise CommandFailed(f"the service (pid {pid}) is not ready to be upgraded: it is starting, or is too old")
        with result_socket(config.socket) as receiver:
            signal.pidfd_send_signal(pidfd, signal.SIGUSR2)
            verdict = receive_result(receiver, pid, pidfd, UPGRADE_TIMEOUT)
    except NoUpgradeResult as error:
        raise CommandFailed(str(error)) from None
    except PermissionError:
        raise CommandFailed(f"the service (pid {pid}) is of another account; do it as that one or as root") from None
    except OSError as error:
        raise CommandFailed(f"cannot wait for the service's word beside {config.socket}: {error.strerror}") from None
    finally:
        os.close(pidfd)
    if verdict.result == "refused":
        raise CommandFailed(f"not upgraded, the service goes on as it was: {verdict.reason}")
    print(
        f"farhandd: upgraded to {verdict.version} (pid {pid}); {verdict.runs} runs went on, "
        f"for {verdict.away:.2f} s without service"
    )
    return 0


def _listener(path: Path) -> int:
    """Return the pid of who listens at the path, which the kernel knows (SO_PEERCRED, unix(7))."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError as error:
            raise CommandFailed(f"no service can be reached on {path}: {error.strerror}") from None
        credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return cast(int, _UCRED.unpack(credentials)[0])


def _catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for the signal; without one most signals would end it (proc_pid_status(5))."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "SigCgt":
            return bool(int(value, 16) >> (number - 1) & 1)
    return False
