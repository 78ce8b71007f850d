"""Converts messages to JSON and back, and splits long lists into messages of bounded size.

Before any model is built, `strict_json` refuses JSON that two parsers may read differently, or that costs too much.
Every refusal has exactly one error code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, TypeVar, cast, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json, to_json

from farhand_protocol.errors import ErrorCode, RemoteProtocolError
from farhand_protocol.limits import Limits
from farhand_protocol.model import Message
from farhand_protocol.strict_json import check_json

from .connection import Accepted, Error, GoingAway, Hello, Login, Ping, Pong, Refused, Welcome
from .operations import MAX_RUNS, Deliver, Done, List, Matched, RunInfo, Runs, ServiceStatus, StatusRequest, WaitFor
from .run import Attach, Close, Credit, End, Ended, Exit, GapNotice, RunRequest, Signal, Started, Stop
from .terminal import MAX_MARKS, OutputMark, OutputMarks, RecordingRequest, Resize

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
    | StatusRequest
    | ServiceStatus
    | Resize
    | RecordingRequest
    | OutputMarks
)


_MODELS: Final[dict[str | None, type[Message]]] = {
    model.model_fields["type"].default: model for model in get_args(AnyMessage)
}
"""The model of each type of message. Not a union discriminated by pydantic, which would build all of them at once: that
takes 20 ms, and most programs see a few."""


def encode(message: Message, exclude: Mapping[str, Any] | None = None) -> bytes:
    """Return the JSON of `message`, without the fields that are None and those in `exclude`, in pydantic's form."""
    return to_json(message, exclude_none=True, exclude=exclude)


def decode(payload: bytes, limits: Limits) -> AnyMessage:
    """Return the message in `payload`. Raises `RemoteProtocolError` with the code of the first mistake."""
    return _decode_short(payload) if len(payload) <= _SHORT else _decode(payload, limits)


_SHORT: Final = 64  # bytes: fits the `end` and `pong` messages of every run; nothing this short can exceed a limit


@lru_cache(maxsize=256)
def _decode_short(payload: bytes) -> AnyMessage:
    return _decode(payload, Limits())


def _decode(payload: bytes, limits: Limits) -> AnyMessage:
    kind = check_json(payload, limits)
    model = _MODELS.get(kind)
    if model is None:
        raise _no_message(payload)
    try:
        message: Any = model.__pydantic_validator__.validate_json(payload)  # without the options of the method
    except ValidationError as error:
        raise _refusal(error, kind) from None
    return cast(AnyMessage, message)


def _no_message(payload: bytes) -> RemoteProtocolError:
    try:
        value = from_json(payload)
    except ValueError as error:  # half of a surrogate pair
        return RemoteProtocolError(ErrorCode.BAD_JSON, f"the message: Invalid JSON: {error}")
    if not isinstance(value, dict):
        return RemoteProtocolError(ErrorCode.INVALID_FIELD, "the message: Input should be an object")
    return RemoteProtocolError(ErrorCode.UNKNOWN_MESSAGE, _UNKNOWN)


_UNKNOWN: Final = "the message has no known type"


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
"""Characters of pydantic's text that are quoted: enough for all texts but a list of choices as long as the terminal
modes."""


def _refusal(error: ValidationError, kind: str | None) -> RemoteProtocolError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    code = _CODES.get(first["type"], ErrorCode.INVALID_FIELD)
    where = "" if code is ErrorCode.BAD_JSON else ".".join(map(str, (kind, *first["loc"])))
    if code is ErrorCode.UNKNOWN_FIELD:
        return RemoteProtocolError(code, f"the message has an unknown field: {where[:64]!r}")
    if code is ErrorCode.UNKNOWN_MESSAGE:
        return RemoteProtocolError(code, _UNKNOWN)
    place = f"the message's field {where[:200]}" if where else "the message"
    said = first["msg"]
    return RemoteProtocolError(code, f"{place}: {said if len(said) <= _SAID else said[: _SAID - 1] + '…'}")


_Item = TypeVar("_Item", bound=BaseModel)


def pack_runs(runs: Iterable[RunInfo], limit: int) -> Iterator[Runs]:
    """Yield `runs` in messages of at most `limit` bytes (the peer's `message` limit) and at most `MAX_RUNS` runs.

    Without runs there is no message. Each message is built only when the iterator reaches it, so a listing needs memory
    only for what can be sent now.
    """
    for chunk in _chunks(runs, MAX_RUNS, limit - len(encode(Runs(runs=())))):
        yield Runs(runs=chunk)


def pack_marks(marks: Iterable[OutputMark], limit: int) -> Iterator[OutputMarks]:
    """Yield `marks` in messages of at most `limit` bytes and at most `MAX_MARKS` marks, as `pack_runs` does."""
    for chunk in _chunks(marks, MAX_MARKS, limit - len(encode(OutputMarks(marks=())))):
        yield OutputMarks(marks=chunk)


def _chunks(items: Iterable[_Item], max_items: int, room: int) -> Iterator[tuple[_Item, ...]]:
    chunk: list[_Item] = []
    size = -1  # each item adds a comma, except the first
    for item in items:
        more = len(to_json(item, exclude_none=True)) + 1
        if chunk and (len(chunk) == max_items or size + more > room):
            yield tuple(chunk)
            chunk, size = [], -1
        chunk.append(item)
        size += more
    if chunk:
        yield tuple(chunk)
