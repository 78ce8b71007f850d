"""Checks JSON before any model is built from it: what two parsers may read differently, and what costs too much.

A payload of a megabyte may consist of a million brackets, each of which costs a parser some hundred bytes. So
`check_json` first looks at the bytes alone, in chunks and in linear time without storing anything: how deep they nest,
and how many values there are. Only what is within the limits is parsed, to find duplicate keys and bad numbers (RFC
8259, section 4; I-JSON, RFC 7493): both `json` and pydantic silently use the last of duplicate keys.

The package `json` is imported only for an error: it compiles patterns for its scanner in Python, which takes longer
than all that a command decodes. The scanner in C is used directly instead.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from functools import lru_cache

try:
    from _json import make_scanner
except ImportError:  # an interpreter other than CPython
    from json.scanner import make_scanner

from .errors import ErrorCode, RemoteProtocolError
from .limits import KiB, Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final, NoReturn, TypeAlias

    Pairs: TypeAlias = list[tuple[str, Any]]

MAX_NUMBER: Final = 400
"""Characters of one number. The largest double has 309 digits; an integer of thousands takes `int` quadratic time."""

SCAN_SIZE: Final = 64 * KiB
"""Bytes looked at in one step. Each takes less than a millisecond, after which other threads may continue."""

_WHITESPACE: Final = " \t\n\r"
_NOT_STRUCTURE: Final = bytes(set(range(256)) - set(b'"[]{},'))
_ROUND: Final = bytes.maketrans(b"[{]}", b"(())")
_STRING: Final = rb'"[^"]*+"?'
"""A pattern of a string without escapes. The closing quote is optional, so that every opening quote matches and the
scan is linear even in hostile text."""


def check_json(payload: bytes, limits: Limits) -> str | None:
    """Raise `RemoteProtocolError` unless `payload` is strict JSON within `limits`.

    Return the text that its member `type` has; None if it has none, or is no object.
    """
    text = _text(payload)
    check_structure(payload, limits)
    kind = _scan(text, _checking_scanner(limits.keys))
    return kind[0] if isinstance(kind, tuple) and isinstance(kind[0], str) else None


def parse_json(payload: bytes, limits: Limits) -> Any:
    """Return the value of `payload`. Raises `RemoteProtocolError` unless it is strict JSON within `limits`."""
    text = _text(payload)
    check_structure(payload, limits)
    value = _scan(text if len(payload) <= SCAN_SIZE else payload.decode(), _parsing_scanner(limits.keys))
    if b"\\ud" in payload or b"\\uD" in payload:
        _refuse_surrogates(value)
    return value


def _scan(text: str, scan: Callable[[str, int], tuple[Any, int]]) -> Any:
    start = 0 if text.startswith("{") else len(text) - len(text.lstrip(_WHITESPACE))
    try:
        value, end = _scanned(text, start, scan)
    except StopIteration as stop:
        raise _not_json("Expecting value", text, stop.value) from None
    except ValueError as error:  # json.JSONDecodeError
        raise RemoteProtocolError(ErrorCode.BAD_JSON, f"the message is not JSON: {error}") from None
    if end != len(text) and (rest := text[end:].lstrip(_WHITESPACE)):
        raise _not_json("Extra data", text, len(text) - len(rest))
    return value


def _scanned(text: str, start: int, scan: Callable[[str, int], tuple[Any, int]]) -> tuple[Any, int]:
    try:
        return scan(text, start)
    except SystemError:
        # CPython 3.11's scanner says what is wrong only where json.decoder is loaded (raise_errmsg, Modules/_json.c).
        import json.decoder  # noqa: F401  # for that alone

        return scan(text, start)


def _not_json(what: str, text: str, at: int) -> RemoteProtocolError:
    from json import JSONDecodeError  # which says in which line and column

    return RemoteProtocolError(ErrorCode.BAD_JSON, f"the message is not JSON: {JSONDecodeError(what, text, at)}")


def _refuse_surrogates(value: Any) -> None:
    """Refuse half a pair of surrogates, which is no character. Within `limits.nesting`, so this may call itself."""
    match value:
        case str():
            try:
                value.encode()
            except UnicodeEncodeError:
                reason = "the message is not JSON: a string has half of a surrogate pair"
                raise RemoteProtocolError(ErrorCode.BAD_JSON, reason) from None
        case list():
            for each in value:
                _refuse_surrogates(each)
        case dict():
            for key, each in value.items():
                _refuse_surrogates(key)
                _refuse_surrogates(each)


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
    if not kept:
        return kept, quoted
    import re  # only needed for what has brackets or commas in strings

    return re.sub(_STRING, b"", kept), quoted


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


class _Context:
    """What the scanner asks for (`json.JSONDecoder` has the same attributes)."""

    strict = True
    object_hook = None
    memo: Final[dict[str, str]] = {}

    def __init__(
        self, members: Callable[[Pairs], Any], number: Callable[[str], Any], fraction: Callable[[str], Any]
    ) -> None:
        self.object_pairs_hook = members
        self.parse_int = number
        self.parse_float = fraction
        self.parse_constant = _constant


def _constant(name: str) -> NoReturn:
    raise RemoteProtocolError(ErrorCode.BAD_NUMBER, f"{name} is not a JSON number")


def _number(text: str) -> None:
    if len(text) > MAX_NUMBER:
        raise RemoteProtocolError(
            ErrorCode.BAD_NUMBER, f"the message has a number of {len(text)} characters; the limit is {MAX_NUMBER}"
        )


def _int(text: str) -> int:
    _number(text)
    return int(text)


def _float(text: str) -> float:
    _number(text)
    return float(text)


@lru_cache(maxsize=8)  # one for each limit on keys: a program has one or two
def _checking_scanner(max_keys: int) -> Any:
    """Return a scanner that stores of each object only its type, in a tuple."""

    def kind(pairs: Pairs) -> tuple[Any]:
        members = dict(pairs)
        if len(members) != len(pairs) or len(pairs) > max_keys:
            raise _bad_members(pairs, max_keys)
        return (members.get("type"),)

    return _scanner(_Context(kind, _number, _number))


@lru_cache(maxsize=8)
def _parsing_scanner(max_keys: int) -> Any:
    """Return a scanner that returns values."""

    def checked(pairs: Pairs) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) != len(pairs) or len(pairs) > max_keys:
            raise _bad_members(pairs, max_keys)
        return members

    return _scanner(_Context(checked, _int, _float))


def _scanner(context: Any) -> Any:
    return make_scanner(context)


def _bad_members(pairs: Pairs, max_keys: int) -> RemoteProtocolError:
    if len(pairs) > max_keys:
        return RemoteProtocolError(
            ErrorCode.TOO_MANY_KEYS, f"an object has {len(pairs)} members; the limit is {max_keys}"
        )
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            break
        seen.add(key)
    return RemoteProtocolError(ErrorCode.DUPLICATE_KEY, f"the key {key[:64]!r} occurs twice in one object")
