"""The servers that tutorials of socket programming write: `python tutorial_servers.py NAME ADDRESS…`.

ADDRESS is `127.0.0.1`, `::1`, or the path of a Unix socket. Prints a line for each: its port, or the path again.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable

LENGTH = struct.Struct(">I")
"""The length in front of what follows it."""

REPORT = 1 << 20
"""Bytes between two lines of progress."""


def hello(client: socket.socket) -> None:
    """The first program: it greets, and that is all."""
    client.sendall(b"hi")


def echo(client: socket.socket) -> None:
    """The second one: what arrives goes back, until it is `q`."""
    while (data := client.recv(1024)) and data != b"q":
        client.sendall(data)


def welcome(client: socket.socket) -> None:
    """The one with threads: a greeting, then an answer to each name, until `exit`."""
    client.sendall(b"welcome!")
    while (name := client.recv(1024).decode()) and name != "exit":
        client.sendall(f"hello,{name}!".encode())


def command(client: socket.socket) -> None:
    """The remote shell of a beginner: a command in, its output and errors out, with the length in front of each."""
    while prefix := client.recv(LENGTH.size, socket.MSG_WAITALL):
        line = client.recv(LENGTH.unpack(prefix)[0], socket.MSG_WAITALL).decode()
        done = subprocess.run(line, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        client.sendall(LENGTH.pack(len(done.stdout)) + done.stdout)


def upload(client: socket.socket) -> None:
    """A file: the length of a JSON header, the header, then as many bytes as it says. Progress and a digest go back."""
    (length,) = LENGTH.unpack(client.recv(LENGTH.size, socket.MSG_WAITALL))
    header = json.loads(client.recv(length, socket.MSG_WAITALL))
    digest, received, reported = hashlib.sha256(), 0, 0
    with open(header["path"], "wb") as file:  # noqa: PTH123  # as tutorials have it
        while received < header["size"] and (data := client.recv(65536)):
            received += len(data)
            digest.update(data)
            file.write(data)
            if received - reported >= REPORT or received == header["size"]:
                reported = received
                client.sendall(json.dumps({"received": received}).encode() + b"\n")
    client.sendall(json.dumps({"sha256": digest.hexdigest()}).encode() + b"\n")


class Page(http.server.BaseHTTPRequestHandler):
    """A web server with one page, larger than any read."""

    protocol_version = "HTTP/1.1"
    body = b"<h1>Hello</h1>\r\n\r\n" + b"\r\n\r\n".join(b"<p>line %d</p>" % number for number in range(50_000))

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def address_string(self) -> str:
        return "somebody"  # clients of Unix sockets have no address


def page(client: socket.socket) -> None:
    """The web server behind the raw GET."""
    Page(client, ("", 0), None)  # type: ignore[arg-type]  # the handler makes no use of its server


def served(serve: Callable[[socket.socket], None], listener: socket.socket) -> None:
    """Serve each client in a thread."""

    def until_its_end(client: socket.socket) -> None:
        with client:
            serve(client)

    while True:
        client, _ = listener.accept()
        threading.Thread(target=until_its_end, args=[client], daemon=True).start()


def datagrams(listener: socket.socket) -> None:
    """Answer each name, to where it came from."""
    while True:
        name, address = listener.recvfrom(2048)
        listener.sendto(b"Hello, " + name + b"!", address)


STREAMS = {serve.__name__: serve for serve in (hello, echo, welcome, command, upload, page)}


def main(name: str, *addresses: str) -> None:
    """Listen, print where, and serve."""
    kind = socket.SOCK_STREAM if name in STREAMS else socket.SOCK_DGRAM
    threads = []
    for address in addresses:
        is_path = "/" in address
        family = socket.AF_UNIX if is_path else socket.AF_INET6 if ":" in address else socket.AF_INET
        listener = socket.socket(family, kind)
        listener.bind(address if is_path else (address, 0))
        if name in STREAMS:
            listener.listen(50)
        print(address if is_path else listener.getsockname()[1], flush=True)
        work = functools.partial(served, STREAMS[name]) if name in STREAMS else datagrams
        threads.append(threading.Thread(target=work, args=[listener]))
    for thread in threads:
        thread.start()


if __name__ == "__main__":
    os.umask(0o077)
    main(*sys.argv[1:])
