"""Messages on channel 0, about the connection itself: hello, login, pings, shutdown, errors."""

from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, BaseModel, Field

from farhand_protocol.errors import ErrorCode
from farhand_protocol.limits import MAX_CHANNELS, MAX_PAYLOAD, MAX_WINDOW, MIN_DATA, MIN_MESSAGE
from farhand_protocol.model import Base64, Count, Grace, Message, Name, Text
from farhand_protocol.sentences import printable
from farhand_protocol.tickets import MAX_TICKET, TICKET_SECRET_SIZE

PROTOCOL_VERSION: Final = 1

Features = Annotated[tuple[Annotated[str, Field(pattern=r"^[a-z0-9_.-]{1,64}$")], ...], Field(max_length=64)]


class AnnouncedLimits(BaseModel):
    """The receive limits that one side announces; `Limits` explains their meaning and reasons."""

    model_config = Message.model_config
    message: Annotated[int, Field(ge=MIN_MESSAGE, le=MAX_PAYLOAD)]
    data: Annotated[int, Field(ge=MIN_DATA, le=MAX_PAYLOAD)]
    window: Annotated[int, Field(ge=MIN_DATA, le=MAX_WINDOW)]
    channels: Annotated[int, Field(ge=1, le=MAX_CHANNELS)]


class Hello(Message):
    """The client's first message. `server` is the name as dialled, `user` the account to log in to."""

    type: Literal["hello"] = "hello"
    versions: Annotated[tuple[Annotated[int, Field(ge=1, le=65535)], ...], Field(min_length=1, max_length=16)]
    software: Text
    features: Features = ()
    limits: AnnouncedLimits
    user: Name | None = None
    server: Name | None = None
    nonce: Annotated[Base64, Field(min_length=32, max_length=32)]


class Welcome(Message):
    """The service's answer. If `login` is true, the client must prove that it holds a key; otherwise the kernel has
    identified it."""

    type: Literal["welcome"] = "welcome"
    version: Annotated[int, Field(ge=1, le=65535)]
    software: Text
    features: Features = ()
    limits: AnnouncedLimits
    login: bool
    nonce: Annotated[Base64, Field(min_length=32, max_length=32)]


class Login(Message):
    """A public key and an SSHSIG signature over the login transcript (`farhand_protocol.login`)."""

    type: Literal["login"] = "login"
    public_key: Annotated[Base64, Field(max_length=8192)]
    signature: Annotated[Base64, Field(max_length=8192)]


class Refused(Message):
    """The login attempt failed for an undisclosed reason; the client has `attempts_left` more attempts."""

    type: Literal["refused"] = "refused"
    attempts_left: Annotated[int, Field(ge=1, le=100)]


class Accepted(Message):
    """The client is logged in as `user` on the machine named `host`. The service serves it first if it shows `ticket`
    at its next connection, and that it has `ticket_secret` (`farhand_protocol.tickets`)."""

    type: Literal["accepted"] = "accepted"
    user: Annotated[Name, AfterValidator(printable)]
    host: Annotated[Name, AfterValidator(printable)]
    ticket: Annotated[Base64, Field(min_length=1, max_length=MAX_TICKET)] | None = None
    ticket_secret: Annotated[Base64, Field(min_length=TICKET_SECRET_SIZE, max_length=TICKET_SECRET_SIZE)] | None = None


class Ping(Message):
    """Requests a `pong` with the same `id`."""

    type: Literal["ping"] = "ping"
    id: Count


class Pong(Message):
    """Answers the `ping` with the same `id`."""

    type: Literal["pong"] = "pong"
    id: Count


class GoingAway(Message):
    """The service is draining: it accepts no new runs, and stops the current ones after `grace` seconds."""

    type: Literal["going_away"] = "going_away"
    grace: Grace


class Error(Message):
    """A refusal. On channel 0 it ends the connection; on any other channel it ends that channel only."""

    ordered: ClassVar[bool] = True
    type: Literal["error"] = "error"
    code: ErrorCode
    message: Text
