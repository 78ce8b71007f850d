"""JSON without the places where two parsers may read two things (RFC 8259, section 4; I-JSON, RFC 7493).

`json` and pydantic both take the last of duplicate keys without a word; this refuses them before a model is built.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

from .errors import ErrorCode, RemoteProtocolError
from .limits import Limits

# The closing quote is optional, so that every opening one matches and the scan stays linear in hostile text too.
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_ROUND: Final = bytes.maketrans(b"[{]}", b"(())")
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[{]}"))


def check_json(payload: bytes, limits: Limits) -> None:
    """Raise `RemoteProtocolError` unless `payload` is strict JSON within `limits`."""
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        raise RemoteProtocolError(
            ErrorCode.BAD_UTF8, f"the message is not UTF-8: byte {error.start} cannot stand there"
        ) from None
    if _deeper(payload, limits.nesting):
        raise RemoteProtocolError(
            ErrorCode.TOO_NESTED, f"the message nests deeper than {limits.nesting} arrays and objects"
        )

    def members(pairs: list[tuple[str, Any]]) -> None:
        if len(pairs) > limits.keys:
            raise RemoteProtocolError(
                ErrorCode.TOO_MANY_KEYS, f"an object has {len(pairs)} members; the limit is {limits.keys}"
            )
        seen = set()
        for key, _ in pairs:
            if key in seen:
                raise RemoteProtocolError(ErrorCode.DUPLICATE_KEY, f"the key {key[:64]!r} stands twice in one object")
            seen.add(key)

    try:
        json.loads(text, object_pairs_hook=members, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise RemoteProtocolError(ErrorCode.BAD_JSON, f"the message is not JSON: {error}") from None
    except ValueError:
        # What is left is int()'s bound on digits (sys.set_int_max_str_digits).
        raise RemoteProtocolError(ErrorCode.BAD_NUMBER, "a number of the message has thousands of digits") from None


def _constant(name: str) -> NoReturn:
    raise RemoteProtocolError(ErrorCode.BAD_NUMBER, f"{name} is not a JSON number")


def _deeper(payload: bytes, limit: int) -> bool:
    # Brackets inside strings count for nothing, but most messages have too few of either to need a look.
    if payload.count(b"{") + payload.count(b"[") <= limit:
        return False
    brackets = _STRING.sub(b"", payload).translate(_ROUND, _NOT_BRACKETS)
    # Each pass takes the innermost level away, at the speed of C. What does not pair is not JSON either.
    for _ in range(limit):
        brackets = brackets.replace(b"()", b"")
    return bool(brackets)
