"""The messages: what the JSON of a control frame can say. Frozen, strict, unknown fields refused."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Annotated, Any, ClassVar, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import PydanticCustomError, to_json

from . import strictjson
from .bytestring import Argument, Base64, EnvironmentName
from .errors import ErrorCode, RemoteProtocolError
from .limits import MAX_CHANNELS, MAX_PAYLOAD, MAX_WINDOW, MIN_DATA, MIN_MESSAGE, Limits
from .outcome import Outcome
from .sentence import Sentence

VERSION: Final = 1

MAX_SECONDS: Final = 10 * 366 * 86400  # ten years; what is meant to be longer is meant to have no limit

Seconds = Annotated[float, Field(gt=0, le=MAX_SECONDS)]
Count = Annotated[int, Field(ge=0, le=(1 << 63) - 1)]
Name = Annotated[str, Field(min_length=1, max_length=255)]  # user and host names: HOST_NAME_MAX, LOGIN_NAME_MAX
Features = Annotated[tuple[Annotated[str, Field(pattern=r"^[a-z0-9_.-]{1,64}$")], ...], Field(max_length=64)]
RunId = Annotated[str, Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
Stream: TypeAlias = Literal["stdin", "stdout", "stderr"]


class Message(BaseModel):
    """Base of all messages. `ordered` ones wait for their channel's queued data, the others overtake it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)
    ordered: ClassVar[bool] = False
    type: str


class Announced(BaseModel):
    """The receive limits a side announces; `Limits` gives their meaning and reasons."""

    model_config = Message.model_config
    message: Annotated[int, Field(ge=MIN_MESSAGE, le=MAX_PAYLOAD)]
    data: Annotated[int, Field(ge=MIN_DATA, le=MAX_PAYLOAD)]
    window: Annotated[int, Field(ge=MIN_DATA, le=MAX_WINDOW)]
    channels: Annotated[int, Field(ge=1, le=MAX_CHANNELS)]


# The connection's own messages, on channel 0.


class Hello(Message):
    """The client's first message. `server` is the name as it was dialled, `user` whom to log in as."""

    type: Literal["hello"] = "hello"
    versions: Annotated[tuple[Annotated[int, Field(ge=1, le=65535)], ...], Field(min_length=1, max_length=16)]
    software: Sentence
    features: Features = ()
    limits: Announced
    user: Name | None = None
    server: Name | None = None
    nonce: Annotated[Base64, Field(min_length=32, max_length=32)]


class Welcome(Message):
    """The service's answer. With `login` the client has to prove a key; without, the kernel has said who it is."""

    type: Literal["welcome"] = "welcome"
    version: Annotated[int, Field(ge=1, le=65535)]
    software: Sentence
    features: Features = ()
    limits: Announced
    login: bool
    nonce: Annotated[Base64, Field(min_length=32, max_length=32)]


class Login(Message):
    """A public key and an SSHSIG signature over the login transcript (`farhand_protocol.login`)."""

    type: Literal["login"] = "login"
    public_key: Annotated[Base64, Field(max_length=8192)]
    signature: Annotated[Base64, Field(max_length=8192)]


class Refused(Message):
    """This login did not do, for a cause that is not told; `attempts_left` more may be made."""

    type: Literal["refused"] = "refused"
    attempts_left: Annotated[int, Field(ge=1, le=100)]


class Accepted(Message):
    """The client is logged in as `user` on the machine that calls itself `host`."""

    type: Literal["accepted"] = "accepted"
    user: Name
    host: Name


class Ping(Message):
    """Asks for a `pong` with the same `id`."""

    type: Literal["ping"] = "ping"
    id: Count


class Pong(Message):
    """Answers the `ping` of that `id`."""

    type: Literal["pong"] = "pong"
    id: Count


class GoingAway(Message):
    """The service drains: no new runs; the running ones have `grace` seconds before they are stopped."""

    type: Literal["going_away"] = "going_away"
    grace: Annotated[float, Field(ge=0, le=MAX_SECONDS)]


class Error(Message):
    """A refusal. On channel 0 the connection ends with it; on another only that channel does."""

    ordered: ClassVar[bool] = True
    type: Literal["error"] = "error"
    code: ErrorCode
    message: Sentence


# A run's messages, on a channel of its own.


class Run(Message):
    """Opens a channel and starts a run: exactly one of `argv`, executed as it is, and `shell`, text for a shell.

    The working directory is relative to the user's home. `timeout` and `kill_after` are in seconds.
    """

    type: Literal["run"] = "run"
    id: RunId
    # fail_fast: pydantic would collect an error for each of a million wrong elements, at a kilobyte each.
    argv: Annotated[tuple[Argument, ...], Field(min_length=1, fail_fast=True)] | None = None
    shell: Argument | None = None
    cwd: Argument | None = None
    env: Annotated[tuple[tuple[EnvironmentName, Argument], ...], Field(fail_fast=True)] = ()
    stdin: bool = False
    merge_stderr: bool = False
    timeout: Seconds | None = None
    kill_after: Annotated[float, Field(ge=0, le=MAX_SECONDS)] | None = None

    @model_validator(mode="after")
    def _one_command(self) -> Self:
        if (self.argv is None) == (self.shell is None):
            raise PydanticCustomError("invalid_field", "exactly one of argv and shell is needed")
        if len({name for name, _ in self.env}) != len(self.env):
            raise PydanticCustomError("invalid_field", "an environment name stands twice in env")
        return self


class Started(Message):
    """The program runs, as process `pid` of the remote machine."""

    type: Literal["started"] = "started"
    pid: Annotated[int, Field(ge=1, le=1 << 31)]


class Credit(Message):
    """The receiver of `stream` takes `bytes` more."""

    type: Literal["credit"] = "credit"
    stream: Stream
    bytes: Annotated[int, Field(ge=1, le=MAX_WINDOW)]


class End(Message):
    """`stream` ends here: TLS has no half-close, so the end is a message."""

    ordered: ClassVar[bool] = True
    type: Literal["end"] = "end"
    stream: Stream


class Signal(Message):
    """Send signal `number` (Linux's, signal(7)) to the run's process group."""

    type: Literal["signal"] = "signal"
    number: Annotated[int, Field(ge=1, le=64)]


class Stop(Message):
    """Stop the run: TERM, `kill_after` seconds of grace (the run's own unless given), KILL."""

    type: Literal["stop"] = "stop"
    kill_after: Annotated[float, Field(ge=0, le=MAX_SECONDS)] | None = None


class Ended(Message):
    """The service's last message on a run's channel: the outcome, after all data.

    `stdout` and `stderr` are the bytes the program wrote, `duration` the wall time in seconds. With `lingered` the
    program had left processes behind that still held its output when the linger time was up.
    """

    ordered: ClassVar[bool] = True
    type: Literal["ended"] = "ended"
    outcome: Outcome
    stdout: Count
    stderr: Count
    duration: Annotated[float, Field(ge=0)]
    lingered: bool = False


class Close(Message):
    """The client's last message on a channel; a run that goes on is stopped."""

    ordered: ClassVar[bool] = True
    type: Literal["close"] = "close"


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
    | Run
    | Started
    | Credit
    | End
    | Signal
    | Stop
    | Ended
    | Close
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
    strictjson.check(payload, limits)
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


def _refusal(error: ValidationError) -> RemoteProtocolError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    code = _CODES.get(first["type"], ErrorCode.INVALID_FIELD)
    where = ".".join(str(part) for part in first["loc"])
    if code is ErrorCode.UNKNOWN_FIELD:
        return RemoteProtocolError(code, f"the message has a field that is not known: {where[:64]!r}")
    if code is ErrorCode.UNKNOWN_MESSAGE:
        return RemoteProtocolError(code, "the message has no type that is known")
    place = f"the message's field {where[:200]}" if where else "the message"
    return RemoteProtocolError(code, f"{place}: {first['msg'][:500]}")
