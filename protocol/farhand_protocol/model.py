"""The base of all models, and the field types that messages and outcomes share: numbers, text, and bytes in JSON.

Models are frozen and strict, and refuse unknown fields. Every value has exactly one JSON form, so two requests are
identical if and only if their messages are equal.

Arguments, paths and environment variables are bytes on Linux (execve(2)), but JSON strings are not. Bytes that are
valid UTF-8 are sent as a JSON string, all other bytes as `{"base64": "…"}` (RFC 4648, section 4, padded).
"""

from __future__ import annotations

from base64 import b64encode
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import (
    VERSION,
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
)
from pydantic_core import PydanticCustomError

from .sentences import printable

_BUILT_SAFELY: Final = tuple(map(int, VERSION.split(".")[:2])) >= (2, 14)
"""Whether two threads may use a model for the first time at once, so that it can be built then. Building all of them
at import takes 40 ms. Earlier versions of pydantic sometimes validate with the wrong model then."""


class Message(BaseModel):
    """Base of all messages. An `ordered` message is sent after queued data; any other message overtakes it."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        hide_input_in_errors=True,
        defer_build=_BUILT_SAFELY,
    )
    ordered: ClassVar[bool] = False
    type: str


# Numbers and names

MAX_SECONDS: Final = 10 * 366 * 86400  # ten years; anyone who wants longer means no limit
MAX_COUNT: Final = (1 << 63) - 1  # the largest file offset (off_t), and the largest integer of SQLite

Seconds = Annotated[float, Field(gt=0, le=MAX_SECONDS)]
# Adding 0.0 turns -0.0, which passes ge=0, into 0.0: every value has one JSON form.
Grace = Annotated[float, Field(ge=0, le=MAX_SECONDS), AfterValidator(lambda seconds: seconds + 0.0)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
PositiveCount = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Offset = Count
Name = Annotated[str, Field(min_length=1, max_length=255)]  # user and host names: HOST_NAME_MAX, LOGIN_NAME_MAX
RunId = Annotated[str, Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
Stream: TypeAlias = Literal["stdin", "stdout", "stderr"]
Output: TypeAlias = Literal["stdout", "stderr"]
ExitCode = Annotated[int, Field(ge=0, le=255)]
SignalNumber = Annotated[int, Field(ge=1, le=64)]


# Human-readable text

MAX_TEXT: Final = 2048
"""Characters: at 6 bytes each (a JSON escape), a message with one such text fits the smallest message limit."""

MAX_SHORT_TEXT: Final = 512
"""Characters: at 6 bytes each, a message that also holds a command and a name still fits the smallest message limit."""


def _fit(value: Any, limit: int) -> Any:
    if not isinstance(value, str):
        return value
    text = printable(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


Text = Annotated[str, BeforeValidator(lambda value: _fit(value, MAX_TEXT))]
"""A text of at most `MAX_TEXT` printable characters on one line. A longer one is truncated, and everything else becomes
an escape: a lone surrogate (an undecodable file name, PEP 383), because sending an error must never fail because of
what it quotes; and control characters, because what the peer says is shown to people."""

ShortText = Annotated[str, BeforeValidator(lambda value: _fit(value, MAX_SHORT_TEXT))]
"""The same with at most `MAX_SHORT_TEXT` characters, for part of a larger message."""


# Bytes


def bytes_to_json(value: bytes) -> str | dict[str, str]:
    """Return the JSON form of `value`: a string if it is UTF-8, else `{"base64": …}`."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()}


def bytes_from_json(value: Any) -> bytes:
    """Return the bytes that a JSON value stands for. A `bytes` value is returned unchanged, for callers that build
    messages.

    Raises PydanticCustomError for anything but the form that `bytes_to_json` returns.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and value.keys() == {"base64"} and isinstance(value["base64"], str):
        decoded = _base64(value["base64"])
        if isinstance(bytes_to_json(decoded), str):
            raise PydanticCustomError("invalid_field", "base64 is only for bytes that are not UTF-8; send a string")
        return decoded
    raise PydanticCustomError("invalid_field", 'expected a string, or {"base64": …} for bytes that are not UTF-8')


def _base64(text: Any) -> bytes:
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str):
        raise PydanticCustomError("invalid_field", "expected a base64 string")
    try:
        decoded = a2b_base64(text, strict_mode=True)
    except ValueError:
        decoded = None
    # Non-zero padding bits would be a second form of the same bytes.
    if decoded is None or b2a_base64(decoded, newline=False).decode() != text:
        raise PydanticCustomError("invalid_field", "not valid base64 (RFC 4648, section 4)")
    return decoded


def _without_nul(value: Any) -> bytes:
    decoded = bytes_from_json(value)
    if b"\0" in decoded:
        raise PydanticCustomError("nul_byte", "a NUL byte cannot be passed to a program")
    return decoded


def _environment_name(value: Any) -> bytes:
    decoded = _without_nul(value)
    if not decoded or b"=" in decoded:
        raise PydanticCustomError(
            "bad_environment_name", "an environment name must have at least one byte and no equals sign"
        )
    return decoded


Argument = Annotated[bytes, PlainValidator(_without_nul), PlainSerializer(bytes_to_json, when_used="json")]
"""An argument, path or environment value: any bytes except NUL."""

EnvironmentName = Annotated[bytes, PlainValidator(_environment_name), PlainSerializer(bytes_to_json, when_used="json")]
"""An environment name: one or more bytes without NUL or `=`."""


def _each(values: Sequence[Any], one: Callable[[Any], bytes]) -> list[bytes]:
    found = []
    for index, value in enumerate(values):
        try:
            found.append(one(value))
        except PydanticCustomError as error:
            # The text of an argument never contains a brace, which would be a placeholder.
            raise PydanticCustomError(error.type, f"number {index + 1}: {error.message()}") from None
    return found


def _arguments(values: Any) -> tuple[bytes, ...]:
    if not isinstance(values, list | tuple):
        raise PydanticCustomError("invalid_field", "expected an array")
    return tuple(_all_bytes(values))


def _all_bytes(values: Sequence[Any]) -> list[bytes]:
    # A call for each of 233,016 arguments would take seconds; nearly always all of them are strings.
    try:
        found = "\0".join(values).encode().split(b"\0")
    except (TypeError, UnicodeEncodeError):
        return _each(values, _without_nul)
    return found if len(found) == len(values) else _each(values, _without_nul)


def arguments_to_json(values: Sequence[bytes]) -> Sequence[str | dict[str, str]]:
    """Return the JSON form of each of `values`, which contain no NUL."""
    try:
        found = b"\0".join(values).decode().split("\0")
    except UnicodeDecodeError:
        return [bytes_to_json(value) for value in values]
    return found if len(found) == len(values) else [bytes_to_json(value) for value in values]


def _variables(pairs: Any) -> tuple[tuple[bytes, bytes], ...]:
    if not isinstance(pairs, list | tuple):
        raise PydanticCustomError("invalid_field", "expected an array of pairs")
    if not (set(map(type, pairs)) <= {list, tuple} and set(map(len, pairs)) <= {2}):
        raise PydanticCustomError("invalid_field", "expected pairs of a name and a value")
    names, values = (_all_bytes([pair[at] for pair in pairs]) for at in (0, 1))
    if b"" in names or b"=" in b"\0".join(names):
        names = _each(names, _environment_name)
    if len(set(names)) != len(names):
        raise PydanticCustomError("invalid_field", "an environment name occurs twice in env")
    return tuple(zip(names, values, strict=True))


def _variables_to_json(pairs: Sequence[tuple[bytes, bytes]]) -> list[Sequence[str | dict[str, str]]]:
    flat = arguments_to_json(tuple(chain.from_iterable(pairs)))
    return [flat[at : at + 2] for at in range(0, len(flat), 2)]


Arguments = Annotated[
    tuple[bytes, ...], PlainValidator(_arguments), PlainSerializer(arguments_to_json, when_used="json")
]
"""Several of `Argument`, decoded together: one by one they would take ten times as long."""

Environment = Annotated[
    tuple[tuple[bytes, bytes], ...], PlainValidator(_variables), PlainSerializer(_variables_to_json, when_used="json")
]
"""Pairs of an `EnvironmentName` and an `Argument`, each name once."""

Base64 = Annotated[
    bytes, PlainValidator(_base64), PlainSerializer(lambda value: b64encode(value).decode(), when_used="json")
]
"""Keys, nonces and signatures: always base64."""
