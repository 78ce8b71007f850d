"""The result of an upgrade, sent to everyone who waits for it, as a datagram to each `upgrade-PID` socket.

An upgrade is requested with a signal, and a signal has no answer. So the requester first binds a socket beside the
service's own. After a successful upgrade, the new program sends the result. The receiver checks the sender's pid, which
the kernel guarantees (SO_PASSCRED, unix(7)).
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

_PREFIX: Final = "upgrade-"

_UCRED: Final = struct.Struct("=iII")

MAX_UPGRADE_RESULT: Final = 16 << 10
"""Maximum size of a result in bytes."""


class UpgradeResult(BaseModel):
    """How an upgrade went. `version` is the version of the program now in service. For `away` seconds nobody was
    served."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    result: Literal["upgraded", "refused"]
    reason: str = ""
    version: str = ""
    runs: int = 0
    away: float = 0.0


class NoUpgradeResult(Exception):
    """No result was received. The text says why."""


def announce_result(service: Path, verdict: UpgradeResult) -> None:
    """Send the result to everyone who waits on a socket beside `service`. Remove sockets that nobody reads any more."""
    data = verdict.model_copy(update={"reason": verdict.reason[:1000]}).model_dump_json().encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, contextlib.suppress(OSError):
        for path in service.parent.glob(f"{_PREFIX}*"):
            try:
                sender.sendto(data, socket.MSG_DONTWAIT, os.fspath(path))
            except ConnectionRefusedError:
                if path.is_socket():
                    path.unlink(missing_ok=True)
            except OSError:
                pass  # the receiver does not read, or it is not a socket of this kind


@contextmanager
def result_socket(service: Path) -> Iterator[socket.socket]:
    """Bind the socket on which `receive_result` waits, beside the socket `service`. Raises OSError."""
    path = service.with_name(f"{_PREFIX}{os.getpid()}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        path.unlink(missing_ok=True)
        receiver.bind(os.fspath(path))
        try:
            path.chmod(0o666)  # the service may run as another account
            yield receiver
        finally:
            path.unlink(missing_ok=True)


def receive_result(receiver: socket.socket, service: int, pidfd: int, seconds: float) -> UpgradeResult:
    """Wait for the result from the process `service`, whose pidfd is given, and return it.

    Raises `NoUpgradeResult` after `seconds`, if the process ends, and for a datagram from another process.
    """
    poll = select.poll()
    poll.register(receiver, select.POLLIN)
    poll.register(pidfd, select.POLLIN)
    ready = {number for number, _ in poll.poll(seconds * 1000)}
    if receiver.fileno() in ready:
        data, ancillary, _, _ = receiver.recvmsg(MAX_UPGRADE_RESULT, socket.CMSG_SPACE(_UCRED.size))
        senders = [_UCRED.unpack(value)[0] for _, kind, value in ancillary if kind == socket.SCM_CREDENTIALS]
        if senders == [service]:
            with contextlib.suppress(ValidationError):
                return UpgradeResult.model_validate_json(data)
        raise NoUpgradeResult("another process has answered; the service's log says how the upgrade went")
    if ready:
        raise NoUpgradeResult("the service has ended; its log says why")
    raise NoUpgradeResult(f"no answer from the service within {seconds:g} s; its log may say more")
