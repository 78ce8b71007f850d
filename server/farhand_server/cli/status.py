"""`farhandd status`: asks the running service how it is."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Iterator
from typing import Final

from farhand_protocol import messages as m
from farhand_protocol.connection import Connection
from farhand_protocol.events import ConnectionFailed, Event, MessageReceived
from farhand_protocol.features import FEATURES, SERVICE_STATUS
from farhand_protocol.limits import CLIENT_LIMITS
from farhand_protocol.sentences import counted, printable
from farhand_protocol.shares import hold_lines, share_lines
from farhand_protocol.states import Side
from farhand_server import __version__

from .command import configuration
from .report import CommandFailed, print_result

STATUS_TIMEOUT: Final = 10.0
"""Seconds that the service may be silent. It answers within milliseconds."""

_READ_SIZE: Final = 1 << 16


def status(options: argparse.Namespace) -> int:
    """Print the state of the service that listens on the configured socket. The exit code is 1 if it has a fault."""
    path = configuration(options).socket
    try:
        software, answer = _ask(os.fspath(path))
    except TimeoutError:
        raise CommandFailed(f"the service on {path} did not answer within {STATUS_TIMEOUT:g} s") from None
    except OSError as error:
        raise CommandFailed(
            f"cannot connect to a service on {path}: {error.strerror}; if one is running, its log says more"
        ) from None
    # A socket may belong to somebody who would like to write to this terminal.
    print_result("\n".join(map(printable, status_lines(software, answer))))
    return 1 if answer.faults else 0


def status_lines(software: str, answer: m.ServiceStatus) -> Iterator[str]:
    """Return the lines to print."""
    state = "draining" if answer.draining else "serving"
    yield (
        f"{software}, pid {answer.pid}: {state} for {answer.uptime:.0f} s, "
        f"{counted(answer.runs, 'run')}, {counted(answer.connections, 'connection')}"
    )
    for fault in answer.faults:
        yield f"fault: {fault}"
    yield from hold_lines(answer.holds)
    yield from share_lines(answer.shares)


def _ask(path: str) -> tuple[str, m.ServiceStatus]:
    """Return the service's software and status. Raises OSError and `CommandFailed`."""
    connection = Connection(Side.CLIENT, CLIENT_LIMITS)
    software = ""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.settimeout(STATUS_TIMEOUT)
        stream.connect(path)
        connection.send(
            0,
            m.Hello(
                versions=(m.PROTOCOL_VERSION,),
                software=f"farhandd/{__version__}",
                features=FEATURES,
                limits=connection.announced_limits,
                nonce=os.urandom(32),
            ),
        )
        for event in _events(connection, stream):
            match event:
                case MessageReceived(message=m.Welcome() as welcome):
                    software = welcome.software
                    if SERVICE_STATUS not in welcome.features:
                        raise CommandFailed(f"the service ({software}) is too old to be asked; upgrade it")
                case MessageReceived(message=m.Accepted()):
                    connection.open(m.StatusRequest())
                case MessageReceived(message=m.ServiceStatus() as answer):
                    return software, answer
                case MessageReceived(message=m.Error() as error):
                    raise CommandFailed(f"the service refused: {error.message}")
                case ConnectionFailed(error=failure):
                    raise CommandFailed(f"the service broke the protocol: {failure.reason}")
                case _:
                    pass
    raise CommandFailed(f"the service on {path} has closed the connection; its log says why")


def _events(connection: Connection, stream: socket.socket) -> Iterator[Event]:
    while True:
        stream.sendall(b"".join(connection.data_to_send()))
        data = stream.recv(_READ_SIZE)
        if not data:
            return
        yield from connection.receive_data(data)
