"""`farhandd upgrade`: asks the running service to replace its program with the installed one, and waits for the
result."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import struct
from pathlib import Path
from typing import Final, cast

from farhand_protocol.sentences import counted
from farhand_server.upgrade.result import NoUpgradeResult, receive_result, result_socket

from .command import configuration
from .report import CommandFailed, print_result

UPGRADE_TIMEOUT: Final = 90.0
"""Seconds to wait for the result: 30 for the trial, 5 for runs that are just starting, and up to 30 for the new program
and its edge to start, plus a margin."""

_UCRED: Final = struct.Struct("=iII")


def upgrade(options: argparse.Namespace) -> int:
    """Upgrade the service that listens on the configured socket."""
    config = configuration(options)
    pid = _listening_pid(config.socket)
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        raise CommandFailed(f"the service on {config.socket} has just ended") from None
    try:
        if not _handles(pid, signal.SIGUSR2):
            raise CommandFailed(f"the service (pid {pid}) cannot be upgraded: it is still starting, or too old")
        with result_socket(config.socket) as receiver:
            signal.pidfd_send_signal(pidfd, signal.SIGUSR2)
            result = receive_result(receiver, pid, pidfd, UPGRADE_TIMEOUT)
    except NoUpgradeResult as error:
        raise CommandFailed(str(error)) from None
    except PermissionError:
        raise CommandFailed(
            f"the service (pid {pid}) belongs to another account; run this as that account or root"
        ) from None
    except OSError as error:
        raise CommandFailed(f"cannot create a socket for the result beside {config.socket}: {error.strerror}") from None
    finally:
        os.close(pidfd)
    if result.result == "refused":
        raise CommandFailed(f"not upgraded, the service continues unchanged: {result.reason}")
    print_result(
        f"farhandd: upgraded to {result.version} (pid {pid}); {counted(result.runs, 'run')} continued, "
        f"{result.away:.2f} s without service"
    )
    return 0


def _listening_pid(path: Path) -> int:
    """Return the pid of the process that listens at the path, as the kernel reports it (SO_PEERCRED, unix(7))."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError as error:
            raise CommandFailed(f"cannot connect to a service on {path}: {error.strerror}") from None
        credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return cast(int, _UCRED.unpack(credentials)[0])


def _handles(pid: int, number: signal.Signals) -> bool:
    """Return whether a process handles the signal (proc_pid_status(5)). Without a handler, most signals would end
    it."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "SigCgt":
            return bool(int(value, 16) >> (number - 1) & 1)
    return False
