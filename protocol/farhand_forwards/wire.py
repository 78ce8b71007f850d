"""The frames of a tunnel: how each is encoded and what is accepted. Specified in protocol/README.md, "Forwards".

A frame is a nine-byte header (the kind in 1 byte, the flow in 4 and the payload's length in 4, big-endian) and the
payload: JSON, raw data, or a number of 4 bytes. The `encode_` functions return frames; `check_forward_header` judges a
header before any of its payload is stored, and the `decode_` functions judge payloads. `mux` knows which frame is due
when. No I/O.
"""

from __future__ import annotations

import json
import struct
from enum import IntEnum
from typing import Any, Final, NamedTuple, TypeAlias

from farhand_protocol.errors import RemoteProtocolError
from farhand_protocol.limits import KiB, Limits, MiB
from farhand_protocol.sentences import printable
from farhand_protocol.strict_json import parse_json

from .targets import (
    FORWARD_CAUSES,
    MAX_REFUSAL_SIZE,
    ForwardCause,
    ForwardTarget,
    TargetError,
    target_from_json,
    target_to_json,
)

TUNNEL_VERSION: Final = 1

FORWARD_HEADER: Final = struct.Struct(">BII")
_U32: Final = struct.Struct(">I")

MAX_FORWARD_DATA: Final = 256 * KiB
"""Bytes of one `DATA`: enough that the cost of a frame does not matter, and little enough that another flow's data wait
2.5 ms behind it at 100 MB/s."""

MAX_FORWARD_JSON: Final = 8 * KiB
"""Bytes of a payload of JSON: the longest sentence is 4 KB of UTF-8, and the longest host with its origin 3 KB."""

MAX_ORIGIN_SIZE: Final = 512
"""Characters that say where a connection came from: an address with a zone and a port has fewer than 80."""

MIN_FLOW_WINDOW: Final = 128 * KiB
"""Bytes that a side must let the other send on each flow before it has said more: enough for the largest datagram while
up to a quarter is not yet returned."""

MAX_FLOW_WINDOW: Final = 2 * MiB
"""Bytes that may be in flight in one direction of a flow: as in OpenSSH, 20 MB/s at a round trip of 100 ms."""

MAX_DATAGRAM: Final = 65_507
"""Bytes of a datagram over IPv4: 65,535 without the headers of IP and UDP."""

MAX_FLOW_ID: Final = (1 << 32) - 1

_JSON_LIMITS: Final = Limits()


class ForwardFrame(IntEnum):
    """The kinds of frames."""

    HELLO = 1
    OPEN = 2
    OPENED = 3
    REFUSED = 4
    DATA = 5
    CREDIT = 6
    EOF = 7
    RESET = 8
    LISTEN = 9
    LISTENING = 10


_SIZES: Final[dict[int, tuple[int, int]]] = {
    ForwardFrame.HELLO: (2, MAX_FORWARD_JSON),
    ForwardFrame.OPEN: (2, MAX_FORWARD_JSON),
    ForwardFrame.OPENED: (2, MAX_FORWARD_JSON),
    ForwardFrame.REFUSED: (2, MAX_FORWARD_JSON),
    ForwardFrame.DATA: (0, MAX_FORWARD_DATA),
    ForwardFrame.CREDIT: (_U32.size, _U32.size),
    ForwardFrame.EOF: (0, 0),
    ForwardFrame.RESET: (0, 0),
    ForwardFrame.LISTEN: (2, MAX_FORWARD_JSON),
    ForwardFrame.LISTENING: (2, MAX_FORWARD_JSON),
}
"""Of each kind, the bytes of the smallest and of the largest payload."""


class ForwardWireError(ValueError):
    """The other side of a tunnel has sent what the specification does not allow. The text says what."""


class Opening(NamedTuple):
    """What `OPEN` says: either where to connect to, or which listener has accepted the connection; and its origin, for
    people."""

    target: ForwardTarget | None
    origin: str
    listener: int


_Object: TypeAlias = dict[str, Any]


def check_forward_header(kind: int, flow: int, size: int) -> None:
    """Raise `ForwardWireError` unless there can be a frame with this header."""
    bounds = _SIZES.get(kind)
    if bounds is None:
        raise ForwardWireError(f"there is no frame of kind {kind}")
    if not bounds[0] <= size <= bounds[1]:
        raise ForwardWireError(
            f"{ForwardFrame(kind).name}: a payload of {size} bytes; {bounds[0]} to {bounds[1]} can be"
        )
    if (flow == 0) is not (kind == ForwardFrame.HELLO):
        raise ForwardWireError(f"{ForwardFrame(kind).name} of flow {flow}")


def encode_forward(kind: ForwardFrame, flow: int, payload: bytes = b"") -> bytes:
    """Return a frame."""
    return FORWARD_HEADER.pack(kind, flow, len(payload)) + payload


def encode_hello(window: int) -> bytes:
    """Return `HELLO`. `window` is what the other side may send on each flow before it has credit for more."""
    return encode_forward(ForwardFrame.HELLO, 0, _json({"version": TUNNEL_VERSION, "window": window}))


def encode_open(flow: int, opening: Opening) -> bytes:
    """Return `OPEN`. An origin that is too long for it is cut off."""
    target = None if opening.target is None else target_to_json(opening.target)
    origin = printable(opening.origin)[:MAX_ORIGIN_SIZE]
    payload = _json({"target": target, "origin": origin, "listener": opening.listener})
    return encode_forward(ForwardFrame.OPEN, flow, payload)


def encode_opened(flow: int, address: ForwardTarget | None) -> bytes:
    """Return `OPENED`; None for a connection of a listener, which leads to no address."""
    payload = _json({"address": None if address is None else target_to_json(address)})
    return encode_forward(ForwardFrame.OPENED, flow, payload)


def encode_refused(flow: int, cause: ForwardCause, message: str) -> bytes:
    """Return `REFUSED`, of a flow or a listener. A message that is too long for it is cut off."""
    payload = _json({"cause": cause, "message": printable(message)[:MAX_REFUSAL_SIZE]})
    return encode_forward(ForwardFrame.REFUSED, flow, payload)


def encode_credit(flow: int, count: int) -> bytes:
    """Return `CREDIT`."""
    return FORWARD_HEADER.pack(ForwardFrame.CREDIT, flow, _U32.size) + _U32.pack(count)


def encode_listen(listener: int, where: ForwardTarget) -> bytes:
    """Return `LISTEN`."""
    return encode_forward(ForwardFrame.LISTEN, listener, _json({"where": target_to_json(where)}))


def encode_listening(listener: int, where: ForwardTarget) -> bytes:
    """Return `LISTENING`."""
    return encode_forward(ForwardFrame.LISTENING, listener, _json({"where": target_to_json(where)}))


def decode_hello(payload: bytes) -> int:
    """Return the window. Raises `ForwardWireError`."""
    value = _members(payload, "HELLO", {"version", "window"})
    if value["version"] != TUNNEL_VERSION or type(value["version"]) is not int:
        raise ForwardWireError(f"HELLO: version {value['version']!r:.40}; this side knows {TUNNEL_VERSION}")
    window = value["window"]
    if type(window) is not int or not MIN_FLOW_WINDOW <= window <= MAX_FLOW_WINDOW:
        raise ForwardWireError(f"HELLO: a window must be {MIN_FLOW_WINDOW} to {MAX_FLOW_WINDOW} bytes")
    return window


def decode_open(payload: bytes) -> Opening:
    """Return what `OPEN` says. Raises `ForwardWireError`."""
    value = _members(payload, "OPEN", {"target", "origin", "listener"})
    origin, listener = value["origin"], value["listener"]
    _check_text("OPEN", "origin", origin, MAX_ORIGIN_SIZE)
    if type(listener) is not int or not 0 <= listener <= MAX_FLOW_ID:
        raise ForwardWireError("OPEN: listener must be a number of 32 bits")
    if (value["target"] is None) is not (listener > 0):
        raise ForwardWireError("OPEN: exactly one of target and listener is needed")
    return Opening(None if listener else _target("OPEN", value["target"]), origin, listener)


def decode_opened(payload: bytes) -> ForwardTarget | None:
    """Return the address. Raises `ForwardWireError`."""
    address = _members(payload, "OPENED", {"address"})["address"]
    return None if address is None else _target("OPENED", address)


def decode_refused(payload: bytes) -> tuple[ForwardCause, str]:
    """Return cause and message. Raises `ForwardWireError`."""
    value = _members(payload, "REFUSED", {"cause", "message"})
    _check_text("REFUSED", "message", value["message"], MAX_REFUSAL_SIZE)
    for cause in FORWARD_CAUSES:
        if cause == value["cause"]:
            return cause, value["message"]
    raise ForwardWireError(f"REFUSED: there is no cause {value['cause']!r:.40}")


def decode_credit(payload: bytes) -> int:
    """Return the count. Raises `ForwardWireError`."""
    (count,) = _U32.unpack(payload)
    if not 0 < count <= MAX_FLOW_WINDOW:
        raise ForwardWireError(f"CREDIT: {count} bytes; 1 to {MAX_FLOW_WINDOW} can be")
    return int(count)


def decode_listen(payload: bytes) -> ForwardTarget:
    """Return where to listen. Raises `ForwardWireError`."""
    return _target("LISTEN", _members(payload, "LISTEN", {"where"})["where"], listener=True)


def decode_listening(payload: bytes) -> ForwardTarget:
    """Return where the listener is. Raises `ForwardWireError`."""
    return _target("LISTENING", _members(payload, "LISTENING", {"where"})["where"])


def _json(value: _Object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _members(payload: bytes, frame: str, keys: set[str]) -> _Object:
    try:
        value = parse_json(payload, _JSON_LIMITS)
    except RemoteProtocolError as error:
        raise ForwardWireError(f"{frame}: {error}") from None
    if not isinstance(value, dict) or value.keys() != keys:
        raise ForwardWireError(f"{frame}: it must be an object with {', '.join(sorted(keys))}")
    return value


def _target(frame: str, value: Any, *, listener: bool = False) -> ForwardTarget:
    try:
        return target_from_json(value, listener=listener)
    except TargetError as error:
        raise ForwardWireError(f"{frame}: {error}") from None


def _check_text(frame: str, name: str, value: Any, limit: int) -> None:
    if not isinstance(value, str) or len(value) > limit or not value.isprintable():
        raise ForwardWireError(f"{frame}: {name} must be at most {limit} printable characters")
