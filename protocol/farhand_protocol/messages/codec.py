"""Between messages and the JSON that spells them; what is wrong with a payload is named by one code."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import to_json

from farhand_protocol import strictjson
from farhand_protocol.errors import ErrorCode, RemoteProtocolError
from farhand_protocol.limits import Limits

from .base import Message
from .run import Attach, Close, Credit, End, Ended, Exit, GapNotice, RunRequest, Signal, Started, Stop
from .session import Accepted, Error, GoingAway, Hello, Login, Ping, Pong, Refused, Welcome
from .terminal import OutputMarks, RecordingRequest, Resize
from .work import Deliver, Done, List, Matched, Runs, WaitFor

AnyMessage = (
    Hello
    | Welcome
    | Login
    | Refused
    | Accepted
    | Ping
    | Pong
    | GoingAway
    | Error
    | RunRequest
    | Attach
    | Started
    | Credit
    | End
    | Signal
    | Stop
    | GapNotice
    | Exit
    | Ended
    | Close
    | List
    | Runs
    | Deliver
    | Done
    | WaitFor
    | Matched
    | Resize
    | RecordingRequest
    | OutputMarks
)


@cache
def _adapter() -> TypeAdapter[Any]:
    return TypeAdapter(Annotated[AnyMessage, Field(discriminator="type")])


def encode(message: Message) -> bytes:
    """Return the JSON of `message`; fields that are None are left out."""
    return to_json(message, exclude_none=True)


def decode(payload: bytes, limits: Limits) -> AnyMessage:
    """Return the message that `payload` spells.

    Raises `RemoteProtocolError` with the code of the first thing wrong.
    """
    return _decode_short(payload) if len(payload) <= _SHORT else _decode(payload, limits)


_SHORT: Final = 64  # bytes: the ends and pongs that every run repeats to the letter, none of them near a limit


@lru_cache(maxsize=256)
def _decode_short(payload: bytes) -> AnyMessage:
    return _decode(payload, Limits())


def _decode(payload: bytes, limits: Limits) -> AnyMessage:
    strictjson.check_json(payload, limits)
    try:
        message: AnyMessage = _adapter().validate_json(payload)
    except ValidationError as error:
        raise _refusal(error) from None
    return message


_CODES: Final = {
    "extra_forbidden": ErrorCode.UNKNOWN_FIELD,
    "union_tag_invalid": ErrorCode.UNKNOWN_MESSAGE,
    "union_tag_not_found": ErrorCode.UNKNOWN_MESSAGE,
    "finite_number": ErrorCode.BAD_NUMBER,
    "json_invalid": ErrorCode.BAD_JSON,
    "nul_byte": ErrorCode.NUL_BYTE,
    "bad_environment_name": ErrorCode.BAD_ENVIRONMENT_NAME,
}


_SAID: Final = 150
"""Characters of what pydantic says: enough but for a list of choices as long as that of a terminal's modes."""


def _refusal(error: ValidationError) -> RemoteProtocolError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    code = _CODES.get(first["type"], ErrorCode.INVALID_FIELD)
    where = ".".join(str(part) for part in first["loc"])
    if code is ErrorCode.UNKNOWN_FIELD:
        return RemoteProtocolError(code, f"the message has a field that is not known: {where[:64]!r}")
    if code is ErrorCode.UNKNOWN_MESSAGE:
        return RemoteProtocolError(code, "the message has no type that is known")
    place = f"the message's field {where[:200]}" if where else "the message"
    said = first["msg"]
    return RemoteProtocolError(code, f"{place}: {said if len(said) <= _SAID else said[: _SAID - 1] + '…'}")
