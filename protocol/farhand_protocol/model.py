"""The base of all models, and the field types that messages and outcomes share: numbers, text, and bytes in JSON.

Models are frozen and strict, and refuse unknown fields. Every value has exactly one JSON form, so two requests are
identical if and only if their messages are equal. What a value must look like beyond its type is in `values`, which
the plain codec uses, too.
"""

from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias, TypeVar

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

from . import values
from .errors import ErrorCode
from .values import MAX_COUNT, BadValue

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

Seconds = Annotated[float, Field(gt=0, le=MAX_SECONDS)]
Grace = Annotated[float, Field(ge=0, le=MAX_SECONDS), AfterValidator(values.positive_zero)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
PositiveCount = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Offset = Count
Name = Annotated[str, Field(min_length=1, max_length=255)]  # user and host names: HOST_NAME_MAX, LOGIN_NAME_MAX
RunId = Annotated[str, Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
Stream: TypeAlias = Literal["stdin", "stdout", "stderr"]
Output: TypeAlias = Literal["stdout", "stderr"]
ExitCode = Annotated[int, Field(ge=0, le=255)]
SignalNumber = Annotated[int, Field(ge=1, le=64)]


# Text and bytes

Text = Annotated[str, BeforeValidator(values.fit_text)]
"""A text of at most `MAX_TEXT` printable characters on one line. A longer one is truncated, and everything else becomes
an escape: a lone surrogate (an undecodable file name, PEP 383), because sending an error must never fail because of
what it quotes; and control characters, because what the peer says is shown to people."""

ShortText = Annotated[str, BeforeValidator(values.fit_short_text)]
"""The same with at most `MAX_SHORT_TEXT` characters, for part of a larger message."""

_Value = TypeVar("_Value")


def _validator(check: Callable[[Any], _Value]) -> PlainValidator:
    @wraps(check)
    def validate(value: Any) -> _Value:
        try:
            return check(value)
        except BadValue as error:
            # No reason contains a name in braces, which would be a placeholder.
            raise PydanticCustomError(error.code.value, error.reason) from None

    return PlainValidator(validate)


def _serializer(write: Callable[[Any], Any]) -> PlainSerializer:
    # With a type pydantic would evaluate the annotations of `write`, whose names `values` does not import.
    return PlainSerializer(write, return_type=Any, when_used="json")


Argument = Annotated[bytes, _validator(values.argument_from_json), _serializer(values.bytes_to_json)]
"""An argument, path or environment value: any bytes except NUL."""

EnvironmentName = Annotated[bytes, _validator(values.environment_name_from_json), _serializer(values.bytes_to_json)]
"""An environment name: one or more bytes without NUL or `=`."""

Arguments = Annotated[
    tuple[bytes, ...],
    _validator(values.arguments_from_json),
    _serializer(values.arguments_to_json),
]
"""Several of `Argument`, decoded together."""

Environment = Annotated[
    tuple[tuple[bytes, bytes], ...],
    _validator(values.environment_from_json),
    _serializer(values.environment_to_json),
]
"""Pairs of an `EnvironmentName` and an `Argument`, each name once."""

Base64 = Annotated[bytes, _validator(values.base64_from_json), _serializer(values.base64_to_json)]
"""Keys, nonces and signatures: always base64."""


# Fields that depend on each other


def refuse(fault: str) -> None:
    """Raise what pydantic expects of a validator, if there is a `fault`."""
    if fault:
        raise PydanticCustomError(ErrorCode.INVALID_FIELD.value, fault)
