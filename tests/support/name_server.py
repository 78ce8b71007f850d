"""A machine of its own network whose names are answered by a test, and may be another address the next time.

Run as a program, it makes the network and the sockets, sends them to the test, and becomes the command that follows.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final, cast

PORT: Final = 80
"""The port that is open on each address."""

TYPE_A: Final = 1

HEADER: Final = struct.Struct("!6H")
"""RFC 1035, section 4.1.1: id, flags, and the numbers of questions, answers, authorities and additions."""


class NameServer(asyncio.DatagramProtocol):
    """Answers each question about an IPv4 address with the next of `addresses`, and says that it may not be kept."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = list(addresses)
        self._transport: asyncio.DatagramTransport
        self.asked: list[str] = []
        """The answers given so far."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | int, int]) -> None:
        number = HEADER.unpack_from(data)[0]
        end = data.index(0, HEADER.size) + 5
        question = data[HEADER.size : end]
        answers = b""
        if struct.unpack("!H", question[-4:-2]) == (TYPE_A,):
            address = self._addresses.pop(0)
            self.asked.append(address)
            # The name of the question, its type and class, and a time to live of 0.
            answers = b"\xc0\x0c" + question[-4:] + struct.pack("!IH", 0, 4) + IPv4Address(address).packed
        self._transport.sendto(HEADER.pack(number, 0x8180, 1, bool(answers), 0, 0) + question + answers, addr)


def network_prefix(path: Path, addresses: Sequence[str]) -> list[str]:
    """Return the words in front of a command that is to run in such a network; `path` is a new socket's, to which
    the test listens for `received_sockets`."""
    return [*("unshare", "--net", "--mount"), sys.executable, "-m", __name__, str(path), ",".join(addresses)]


def received_sockets(listener: socket.socket) -> list[socket.socket]:
    """Return the sockets of the network: one for datagrams to its name server, and one listening on each address."""
    with listener.accept()[0] as connection:
        _, descriptors, _, _ = socket.recv_fds(connection, 1, 64)
    return [socket.socket(fileno=descriptor) for descriptor in descriptors]


def _enter(path: str, addresses: Sequence[str], command: Sequence[str]) -> None:
    directory = Path(path).parent
    for name, text in (
        ("resolv.conf", "nameserver 127.0.0.1\noptions timeout:20\n"),
        ("nsswitch.conf", "hosts: dns\n"),
    ):
        (directory / name).write_text(text)
        subprocess.run(["mount", "--bind", directory / name, f"/etc/{name}"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind(("127.0.0.1", 53))
    sockets = [names]
    for address in addresses:
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
        sockets.append(socket.create_server((address, PORT)))
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        socket.send_fds(connection, [b"s"], [each.fileno() for each in sockets])
    os.execvp(command[0], list(command))


if __name__ == "__main__":
    _enter(sys.argv[1], sys.argv[2].split(","), sys.argv[3:])
