"""Two joined `Connection`s, and helpers for the bytes between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

from farhand_protocol import messages as m
from farhand_protocol.connection import DEFAULT_LIMITS, Connection
from farhand_protocol.errors import ErrorCode
from farhand_protocol.events import ChannelFailed, ConnectionFailed, DataReceived, Event
from farhand_protocol.frames import FRAME_HEADER, Kind, encode_frame
from farhand_protocol.limits import Limits
from farhand_protocol.states import Phase, Side

RUN_ID = "0192f0c1-2b3d-7c4e-8f50-617283940a1b"


def run(**changes: object) -> m.RunRequest:
    """Return a `run` request with stdin; `fields` override the defaults."""
    return m.RunRequest.model_validate({"id": RUN_ID, "argv": (b"cat",), "stdin": True} | changes)


SIZE = m.WindowSize(columns=80, rows=24)
TERMINAL = m.TerminalRequest(name="xterm-256color", size=SIZE)


def terminal_run(**changes: object) -> m.RunRequest:
    """Return a `run` request on a terminal; `fields` override the defaults."""
    return run(**{"merge_stderr": True, "terminal": TERMINAL} | changes)


@cache
def hello(limits: Limits = DEFAULT_LIMITS, features: tuple[str, ...] = ()) -> m.Hello:
    """Return a client's first message."""
    return m.Hello(
        versions=(1,),
        software="test",
        features=features,
        limits=Connection(Side.CLIENT, limits).announced_limits,
        nonce=bytes(32),
        user="ada",
    )


@cache
def welcome(limits: Limits = DEFAULT_LIMITS, *, login: bool = False, features: tuple[str, ...] = ()) -> m.Welcome:
    """Return a service's first message."""
    announced = Connection(Side.SERVER, limits).announced_limits
    return m.Welcome(version=1, software="test", features=features, limits=announced, login=login, nonce=bytes(32))


LOGIN = m.Login(public_key=b"key", signature=b"signature")
ACCEPTED = m.Accepted(user="ada", host="build")
REFUSED = m.Refused(attempts_left=1)


def message(channel: int, content: m.Message) -> bytes:
    """Return the frame of a message."""
    return encode_frame(Kind.MESSAGE, channel, m.encode(content))


def text(channel: int, json: str | bytes) -> bytes:
    """Return the frame of a message given as JSON."""
    return encode_frame(Kind.MESSAGE, channel, json.encode() if isinstance(json, str) else json)


class Frame(NamedTuple):
    """One frame that a connection sent."""

    kind: Kind
    channel: int
    payload: bytes

    @property
    def message(self) -> m.AnyMessage:
        """Return the decoded message."""
        assert self.kind is Kind.MESSAGE
        return m.decode(self.payload, DEFAULT_LIMITS)


def frames(data: bytes) -> list[Frame]:
    """Decode whole frames, without the code under test."""
    found = []
    while data:
        word, channel = FRAME_HEADER.unpack_from(data)
        end = FRAME_HEADER.size + (word >> 8)
        assert len(data) >= end, "a frame is incomplete"
        found.append(Frame(Kind(word & 0xFF), channel, data[FRAME_HEADER.size : end]))
        data = data[end:]
    return found


def sent(connection: Connection) -> list[Frame]:
    """Remove and return the queued frames of the connection."""
    return frames(b"".join(connection.data_to_send()))


def in_phase(side: Side, phase: Phase, limits: Limits = DEFAULT_LIMITS) -> Connection:
    """Return one side of a connection in `phase`, with nothing queued."""
    steps: dict[Phase, list[tuple[Side, m.Message]]] = {
        Phase.HELLO: [],
        Phase.WELCOME: [(Side.CLIENT, hello())],
        Phase.LOGIN: [(Side.SERVER, welcome(login=True))],
        Phase.VERIFY: [(Side.CLIENT, LOGIN)],
        Phase.READY: [(Side.SERVER, ACCEPTED)],
        Phase.CLOSED: [(Side.SERVER, m.Error(code=ErrorCode.INTERNAL, message="over"))],
    }
    connection = Connection(side, limits)
    for step, messages in steps.items():
        for speaker, what in messages:
            if speaker is side:
                connection.send(0, what)
            else:
                list(connection.receive_data(message(0, what)))
        if step is phase:
            break
    connection.data_to_send()
    assert connection.phase is phase
    return connection


class Pair:
    """A client and a server, and the bytes in flight from each."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.client = Connection(Side.CLIENT, limits)
        self.server = Connection(Side.SERVER, limits)
        self.wire = {Side.CLIENT: bytearray(), Side.SERVER: bytearray()}

    @classmethod
    def ready(cls, limits: Limits = DEFAULT_LIMITS) -> Pair:
        """Return a pair that is logged in."""
        pair = cls(limits)
        pair.client.send(0, hello(limits))
        pair.deliver()
        pair.server.send(0, welcome(limits))
        pair.server.send(0, ACCEPTED)
        pair.deliver()
        return pair

    def start(self, opening: m.RunRequest | m.Attach | None = None) -> int:
        """Open a channel on a run that has started; return its number."""
        channel = self.client.open(opening or run())
        self.deliver()
        self.server.send(channel, m.Started(pid=1))
        self.deliver()
        return channel

    def end(self, side: Side) -> Connection:
        """Return the connection of one side."""
        return self.client if side is Side.CLIENT else self.server

    def collect(self, side: Side) -> None:
        """Put what `side` has queued on the wire."""
        self.wire[side] += b"".join(self.end(side).data_to_send())

    def transfer(self, side: Side, count: int) -> Iterator[Event]:
        """Deliver up to `count` bytes that `side` sent to its peer."""
        chunk = bytes(self.wire[side][:count])
        del self.wire[side][:count]
        yield from self.end(side.peer).receive_data(chunk)

    def deliver(self) -> list[str]:
        """Deliver everything in both directions until nothing is left; return the transcript, a line for each event."""
        lines: list[str] = []
        while self.client.queued or self.server.queued:
            for side in Side:
                self.collect(side)
                lines += transcript(side, self.transfer(side, len(self.wire[side])))
        return lines


def transcript(speaker: Side, events: Iterable[Event]) -> list[str]:
    """Return one line for each event: who sent it, on which channel, and the resulting event."""
    return [_line(speaker, event) for event in events]


def _line(speaker: Side, event: Event) -> str:
    match event:
        case DataReceived():
            data = event.data if len(event.data) <= 80 else event.data[:80] + b"..."
            return f"{speaker} {event.channel}: {event.stream} {data!r}"
        case ChannelFailed():
            return f"{speaker} {event.channel}: failed by {event.error.code}"
        case ConnectionFailed():
            return f"{speaker}: failed by {event.error.code}"
        case _:
            return f"{speaker} {event.channel}: {event.message.type}"
