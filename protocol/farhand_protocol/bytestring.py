"""Bytes inside JSON: arguments, paths and environment are bytes on Linux (execve(2)), JSON strings are not.

What is valid UTF-8 travels as a JSON string; anything else as `{"base64": "…"}` (RFC 4648, section 4, padded). Every
value has exactly one spelling, so two requests are the same request if and only if their messages are.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator
from pydantic_core import PydanticCustomError


def bytes_to_json(value: bytes) -> str | dict[str, str]:
    """Return the one JSON spelling of `value`."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()}


def bytes_from_json(value: Any) -> bytes:
    """Return the bytes that a JSON value spells; `bytes` pass as they are, for callers that build messages."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and value.keys() == {"base64"} and isinstance(value["base64"], str):
        decoded = _base64(value["base64"])
        if isinstance(bytes_to_json(decoded), str):
            raise PydanticCustomError("invalid_field", "base64 is for bytes that are not UTF-8; send a string")
        return decoded
    raise PydanticCustomError("invalid_field", 'a string, or {"base64": …} for bytes that are not UTF-8, is needed')


def _base64(text: Any) -> bytes:
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str):
        raise PydanticCustomError("invalid_field", "a base64 string is needed")
    try:
        decoded = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        decoded = None
    # The comparison refuses what b64decode lets pass: bits set in the padding, a second spelling of the same bytes.
    if decoded is None or b64encode(decoded).decode() != text:
        raise PydanticCustomError("invalid_field", "this is not base64 (RFC 4648, section 4)")
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
            "bad_environment_name", "an environment name has at least one byte and no equals sign"
        )
    return decoded


Argument = Annotated[bytes, PlainValidator(_without_nul), PlainSerializer(bytes_to_json, when_used="json")]
"""An argument, path or environment value: any bytes but NUL."""

EnvironmentName = Annotated[bytes, PlainValidator(_environment_name), PlainSerializer(bytes_to_json, when_used="json")]
"""An environment name: any bytes but NUL and `=`, at least one."""

Base64 = Annotated[
    bytes, PlainValidator(_base64), PlainSerializer(lambda value: b64encode(value).decode(), when_used="json")
]
"""Keys, nonces and signatures: always base64."""
