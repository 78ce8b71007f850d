"""Checks JSON before any model is built from it: what two parsers may read differently, and what costs too much.

A payload of a megabyte may consist of a million brackets, each of which costs a parser some hundred bytes. So
`check_json` first looks at the bytes alone, in chunks and in linear time without storing anything: how deep they nest,
and how many values there are. Only what is within the limits is parsed, to find duplicate keys and bad numbers (RFC
8259, section 4; I-JSON, RFC 7493): both `json` and pydantic silently use the last of duplicate keys.
"""

from __future__ import annotations

import json
import re
from codecs import getincrementaldecoder
from functools import lru_cache
from typing import Any, Final, NoReturn

from .errors import ErrorCode, RemoteProtocolError
from .limits import KiB, Limits

MAX_NUMBER: Final = 400
"""Characters of one number. The largest double has 309 digits; an integer of thousands takes `int` quadratic time."""

SCAN_SIZE: Final = 64 * KiB
"""Bytes looked at in one step. Each takes less than a millisecond, after which other threads may continue."""

_NOT_STRUCTURE: Final = bytes(set(range(256)) - set(b'"[]{},'))
_ROUND: Final = bytes.maketrans(b"[{]}", b"(())")
_STRING: Final = re.compile(rb'"[^"]*+"?')
"""A string without escapes. The closing quote is optional, so that every opening quote matches and the scan is linear
even in hostile text."""


def check_json(payload: bytes, limits: Limits) -> None:
    """Raise `RemoteProtocolError` unless `payload` is strict JSON within `limits`."""
    text = _text(payload)
    check_structure(payload, limits)
    try:
        _decoder(limits.keys).decode(text)
    except json.JSONDecodeError as error:
        raise RemoteProtocolError(ErrorCode.BAD_JSON, f"the message is not JSON: {error}") from None


def check_structure(payload: bytes, limits: Limits) -> None:
    """Raise `RemoteProtocolError` if `payload` nests too deeply or has too many values.

    Counted are the elements of all arrays and the members of all objects; an empty array or object counts as two.
    Nothing is promised about a payload that is not JSON, except that a parser stops before it has found more.
    """
    opening = payload.count(b"[") + payload.count(b"{")
    # Brackets and commas inside strings do not count, but most messages have so few of them that no closer look is
    # needed.
    if opening <= limits.nesting and opening + payload.count(b",") <= limits.values:
        return
    containers = values = depth = 0
    quoted = False
    rest = b""
    for at in range(0, len(payload), SCAN_SIZE):
        chunk = rest + payload[at : at + SCAN_SIZE]
        backslashes = len(chunk) - len(chunk.rstrip(b"\\"))
        rest = chunk[len(chunk) - backslashes % 2 :]  # half an escape
        structure, quoted = _structure(chunk[: len(chunk) - backslashes % 2], quoted)
        commas, brackets = structure.count(b","), structure.translate(_ROUND, b",")
        opening = brackets.count(b"(")
        containers += opening
        values += opening + commas
        if containers > limits.containers or values > limits.values:
            what = f"{limits.values} values, {limits.containers} of them arrays and objects"
            raise RemoteProtocolError(ErrorCode.TOO_MANY_KEYS, f"the message has more than {what}")
        after = depth + opening - brackets.count(b")")
        if after < 0:
            return  # more is closed than was opened: not JSON
        if _deeper(b"(" * depth + brackets + b")" * after, limits.nesting):
            raise RemoteProtocolError(
                ErrorCode.TOO_NESTED, f"the message nests deeper than {limits.nesting} arrays and objects"
            )
        depth = after


def _structure(chunk: bytes, quoted: bool) -> tuple[bytes, bool]:
    """Return the brackets and commas of `chunk` outside of strings, and whether it ends inside one.

    `quoted` tells whether it begins inside one.
    """
    if b"\\" in chunk:
        chunk = chunk.replace(b"\\\\", b"").replace(b'\\"', b"")
    kept = chunk.translate(None, _NOT_STRUCTURE)
    if quoted:
        kept = b'"' + kept
    quoted = kept.count(b'"') % 2 == 1
    kept = kept.replace(b'""', b"")  # most strings have no brackets or commas
    return _STRING.sub(b"", kept), quoted


def _deeper(brackets: bytes, limit: int) -> bool:
    """Return whether `brackets` nest deeper than `limit`. Each pass removes the innermost level, at C speed."""
    for _ in range(limit):
        if not brackets:
            break
        brackets = brackets.replace(b"()", b"")
    return bool(brackets)


def _text(payload: bytes) -> str:
    """Return a text that is JSON if `payload` is, with the same keys."""
    if len(payload) <= SCAN_SIZE:
        try:
            return payload.decode()
        except UnicodeDecodeError as error:
            raise _not_utf8(error.start) from None
    decoder = getincrementaldecoder("utf-8")()
    for at in range(0, len(payload), SCAN_SIZE):
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(payload[at : at + SCAN_SIZE], final=at + SCAN_SIZE >= len(payload))
        except UnicodeDecodeError as error:
            raise _not_utf8(at - pending + error.start) from None
    # One character of four bytes would make all others of a text as large. Here each stands for a byte; only keys that
    # no message has could be mistaken for others.
    return payload.decode("latin-1")


def _not_utf8(at: int) -> RemoteProtocolError:
    return RemoteProtocolError(ErrorCode.BAD_UTF8, f"the message is not UTF-8: byte {at} is invalid")


@lru_cache(maxsize=8)
def _decoder(max_keys: int) -> json.JSONDecoder:
    def members(pairs: list[tuple[str, Any]]) -> None:
        if len(pairs) > max_keys:
            raise RemoteProtocolError(
                ErrorCode.TOO_MANY_KEYS, f"an object has {len(pairs)} members; the limit is {max_keys}"
            )
        seen = set()
        for key, _ in pairs:
            if key in seen:
                raise RemoteProtocolError(ErrorCode.DUPLICATE_KEY, f"the key {key[:64]!r} occurs twice in one object")
            seen.add(key)

    return json.JSONDecoder(object_pairs_hook=members, parse_constant=_constant, parse_int=_number, parse_float=_number)


def _constant(name: str) -> NoReturn:
    raise RemoteProtocolError(ErrorCode.BAD_NUMBER, f"{name} is not a JSON number")


def _number(text: str) -> None:
    if len(text) > MAX_NUMBER:
        raise RemoteProtocolError(
            ErrorCode.BAD_NUMBER, f"the message has a number of {len(text)} characters; the limit is {MAX_NUMBER}"
        )
