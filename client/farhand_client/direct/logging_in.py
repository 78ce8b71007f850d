"""The login: hello, and the proof of a key if the service asks for it."""

from __future__ import annotations

import os
import select
import time

from farhand_client.times import MAX_SIGNING_TIME
from farhand_client.version import SOFTWARE
from farhand_protocol.errors import ProtocolError
from farhand_protocol.features import FEATURES
from farhand_protocol.frames import Kind
from farhand_protocol.limits import CLIENT_LIMITS
from farhand_protocol.plain.codec import decode
from farhand_protocol.records import NamedTuple

from .deadline import NotDirectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from .deadline import DirectDeadline
    from .dialling import DialledWire
    from .keys import LoginKey
    from .route import Route
    from .wire import Wire


class LoginAnswers(NamedTuple):
    """What the service said: the fields of `welcome` and `accepted`. `offered` is how the key that it has accepted is
    named in an offer to the helper; None if somebody was probably asked for the signature."""

    welcome: dict[str, Any]
    accepted: dict[str, Any]
    offered: bytes | None = None


def log_in_directly(
    dialled: DialledWire,
    route: Route,
    user: str | None,
    keys: Callable[[], Iterator[LoginKey]],
    deadline: DirectDeadline,
) -> LoginAnswers:
    """Say hello as `user`, and prove one of `keys`.

    Raises NotDirectError if that is impossible here, `ConnectError` at the deadline, and `InterruptedBySignal`.
    """
    try:
        return _log_in(dialled, route, user, keys, deadline)
    except (OSError, ProtocolError):
        raise NotDirectError from None


def _log_in(
    dialled: DialledWire,
    route: Route,
    user: str | None,
    keys: Callable[[], Iterator[LoginKey]],
    deadline: DirectDeadline,
) -> LoginAnswers:
    wire = dialled.wire
    limits = CLIENT_LIMITS
    nonce = os.urandom(32)
    hello = wire.send(
        0,
        {
            "type": "hello",
            "versions": (1,),
            "software": SOFTWARE,
            "features": FEATURES,
            "limits": {
                "message": limits.message,
                "data": limits.data,
                "window": limits.window,
                "channels": limits.channels,
            },
            "user": user,
            "server": route.host or None,
            "nonce": nonce,
        },
    )
    offered: Iterator[LoginKey] | None = None
    if dialled.spki_sha256 is not None:
        offered = keys()
        first = next(offered, None)  # while the service answers
    welcome = _answer(wire, route, deadline, "welcome")
    if not welcome["login"]:
        return LoginAnswers(welcome, _accepted(wire, _answer(wire, route, deadline, "accepted")))
    if dialled.spki_sha256 is None or offered is None:
        raise NotDirectError
    from hashlib import sha256  # without a login, none of this is needed

    from farhand_protocol.login import login_transcript

    key = first
    while key is not None:
        transcript = login_transcript(
            spki_sha256=dialled.spki_sha256,
            server_nonce=welcome["nonce"],
            client_nonce=nonce,
            server_name=route.host,
            user=user or "",
            hello_sha256=sha256(hello).digest(),
            public_key=key.public_key.blob,
        )
        deadline.signing(key.description)
        began = time.monotonic()
        signature = key.sign(transcript, deadline)
        unasked = time.monotonic() - began <= MAX_SIGNING_TIME
        wire.send(0, {"type": "login", "public_key": key.public_key.blob, "signature": signature})
        answer = _answer(wire, route, deadline, "accepted", "refused")
        if answer["type"] == "accepted":
            return LoginAnswers(welcome, _accepted(wire, answer), key.in_offer if unasked else None)
        key = next(offered, None)
    raise NotDirectError


def _accepted(wire: Wire, answer: dict[str, Any]) -> dict[str, Any]:
    wire.login_done = True
    return answer


def _answer(wire: Wire, route: Route, deadline: DirectDeadline, *expected: str) -> dict[str, Any]:
    deadline.logging_in(str(route))
    while True:
        for kind, channel, payload in wire.frames():
            if kind != Kind.MESSAGE or channel != 0:
                raise NotDirectError
            answer = decode(bytes(payload))
            if answer["type"] not in expected:
                raise NotDirectError
            return answer
        deadline.wait(wire.fd, select.POLLIN | (select.POLLOUT if wire.unsent else 0))
        wire.flush()
        if not wire.receive():
            raise NotDirectError
