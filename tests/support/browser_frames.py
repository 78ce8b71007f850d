"""WebSocket frames and HTTP requests as a browser writes them."""

from __future__ import annotations

import struct

from farhand_server.web.framing import Opcode

MASK = b"\x12\x34\x56\x78"


def masked(payload: bytes, opcode: Opcode = Opcode.BINARY, *, final: bool = True) -> bytes:
    """Return a frame from a client (RFC 6455, section 5.2)."""
    size = len(payload)
    first = (0x80 if final else 0) | opcode
    if size < 126:
        head = struct.pack("!BB", first, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, size)
    return head + MASK + bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))


def request(path: str = "/", host: str = "localhost:8080", method: str = "GET", **headers: str) -> bytes:
    """Return the head of a request. Names of headers have `_` for `-`."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *(f"{n.replace('_', '-')}: {v}" for n, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def upgrade(path: str = "/connection", origin: str = "http://localhost:8080", **headers: str) -> bytes:
    """Return the request for a WebSocket."""
    usual = {
        "Origin": origin,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec_WebSocket_Protocol": "farhand.1",
    }
    return request(path, **usual | headers)
