"""How an upgrade went, told to whoever asked for it: a datagram to each socket that waits beside the service's own.

A signal has no answer. Who asks makes a socket `upgrade-PID` first; a service that is replaced meanwhile tells from its
new program. The kernel says who has sent it (SO_PASSCRED, unix(7)).
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
"""Bytes of a verdict."""


class UpgradeResult(BaseModel):
    """`version` is that of the program that serves now; `away` the seconds for which nobody was served."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    result: Literal["upgraded", "refused"]
    reason: str = ""
    version: str = ""
    runs: int = 0
    away: float = 0.0


class NoUpgradeResult(Exception):
    """Nothing was heard; the text says why."""


def announce_result(service: Path, verdict: UpgradeResult) -> None:
    """Tell everybody who waits; what nobody listens at any more is removed."""
    data = verdict.model_copy(update={"reason": verdict.reason[:1000]}).model_dump_json().encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, contextlib.suppress(OSError):
        for path in service.parent.glob(f"{_PREFIX}*"):
            try:
                sender.sendto(data, socket.MSG_DONTWAIT, os.fspath(path))
            except ConnectionRefusedError:
                if path.is_socket():
                    path.unlink(missing_ok=True)
            except OSError:
                pass  # it does not read, or is none of ours


@contextmanager
def result_socket(service: Path) -> Iterator[socket.socket]:
    """Be told, on the socket that is given. Raises OSError where it cannot be made beside the service's."""
    path = service.with_name(f"{_PREFIX}{os.getpid()}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        path.unlink(missing_ok=True)
        receiver.bind(os.fspath(path))
        try:
            path.chmod(0o666)  # the service may be of another account
            yield receiver
        finally:
            path.unlink(missing_ok=True)


def receive_result(receiver: socket.socket, service: int, pidfd: int, seconds: float) -> UpgradeResult:
    """Wait for the service's verdict for so long, or until the service ends. Raises `NoUpgradeResult`."""
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
        raise NoUpgradeResult("somebody else has answered; the service's log says how the upgrade went")
    if ready:
        raise NoUpgradeResult("the service has ended; its log says why")
    raise NoUpgradeResult(f"no word from the service within {seconds:g} s; its log may say more")
