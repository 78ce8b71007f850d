"""In any order of sending, delivering and reading, streams arrive whole, and both sides agree."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from farhand_protocol import messages as m
from farhand_protocol.channel import legal_messages, open_streams
from farhand_protocol.errors import ErrorCode
from farhand_protocol.events import ConnectionFailed, DataReceived, Event, MessageReceived
from farhand_protocol.frames import Kind, encode_frame
from farhand_protocol.limits import MIN_DATA, MIN_MESSAGE, MIN_WINDOW, Limits
from farhand_protocol.outcome import Exited
from farhand_protocol.states import CHANNEL_MESSAGES, FINAL_MESSAGES, Phase, Side
from tests.support.pairs import RUN_ID, SIZE, Pair, in_phase, message, run, sent, terminal_run

SMALL = Limits(message=MIN_MESSAGE, data=MIN_DATA, window=MIN_DATA, channels=3)
PATTERN = bytes(at % 251 for at in range(251 + 3000))
"""Data that shows where it was cut: 251 is a prime."""

STREAMS: dict[Side, tuple[m.Stream, ...]] = {Side.CLIENT: ("stdin",), Side.SERVER: ("stdout", "stderr")}
ENDED = m.Ended(outcome=Exited(code=0), stdout=0, stderr=0, duration=0)

OPENINGS: list[m.AnyMessage] = [
    run(),
    run(merge_stderr=True, stdin=False),
    m.Attach(id=RUN_ID, stdin=9, stdout=70, stderr=0, hold=True),
    m.Attach(id=RUN_ID, stderr=5, read_only=True),
    m.Attach(id=RUN_ID, stdout=0, follow=False),
    terminal_run(window=MIN_WINDOW),
    m.Attach(id=RUN_ID, stdin=0, stdout=7, size=SIZE, share=True),
    m.Attach(id=RUN_ID, stdout=7, size=SIZE, read_only=True),
    m.List(),
    m.Deliver(id=RUN_ID, number=2),
    m.WaitFor(id=RUN_ID),
    m.RecordingRequest(id=RUN_ID),
]
ANSWERS: dict[type[m.Message], m.Message] = {
    m.List: m.Runs(runs=()),
    m.Deliver: m.Done(),
    m.WaitFor: m.Matched(reason="ended", start=0, end=0),
    m.RecordingRequest: m.OutputMarks(marks=(m.OutputMark(at=0, stdout=1),)),
}

sides = st.sampled_from(Side)

ACTIONS = (
    "open",
    "open and answer",
    "deliver all",
    "gap",
    "send",
    "end",
    "acknowledge",
    "send message",
    "resize",
    "leave",
    "collect",
    "transfer",
)
STEP_SIZE = 4


class Step(NamedTuple):
    """One step of a script: an action and its parameters, some of which it may not use."""

    action: str
    side: Side
    which: int
    """One of the streams of a side: 0 or 1."""
    channel: int
    """1 to 4."""
    number: int
    """0 to 65,535."""

    @classmethod
    def decode(cls, code: bytes) -> Step:
        where = code[1]
        side = Side.SERVER if where & 1 else Side.CLIENT
        return cls(ACTIONS[code[0] % len(ACTIONS)], side, where >> 1 & 1, 1 + (where >> 2 & 3), code[2] << 8 | code[3])


# A script is one draw of bytes: drawing each field of each step took hypothesis ten times as long as the test itself.
scripts = st.binary(min_size=30 * STEP_SIZE, max_size=120 * STEP_SIZE).map(
    lambda code: [Step.decode(code[at : at + STEP_SIZE]) for at in range(0, len(code) - STEP_SIZE + 1, STEP_SIZE)]
)


class World:
    """A pair, and what each side has sent, received and not yet acknowledged, by (speaker, channel, stream)."""

    def __init__(self) -> None:
        self.pair = Pair.ready(SMALL)
        self.opened: dict[int, m.AnyMessage] = {}
        self.arrived: set[int] = set()
        self.left: dict[Side, set[int]] = {side: set() for side in Side}
        self.sent_data: dict[tuple[Side, int, m.Stream], bytearray] = defaultdict(bytearray)
        self.received: dict[tuple[Side, int, m.Stream], bytearray] = defaultdict(bytearray)
        self.ended: set[tuple[Side, int, m.Stream]] = set()
        self.unacknowledged: dict[tuple[Side, int, m.Stream], int] = defaultdict(int)
        self.offsets: dict[tuple[Side, int, m.Stream], int] = defaultdict(int)
        """The next offset of each stream for its sender; it begins at 0 or at the offset of an `attach`."""
        self.started: set[int] = set()
        self.close_received: set[int] = set()

    def step(self, step: Step) -> None:
        action, side, which, channel, number = step
        match action:
            case "open":
                self._open(OPENINGS[number % len(OPENINGS)])
            case "open and answer":
                self._open_and_answer(OPENINGS[number % len(OPENINGS)])
            case "deliver all":
                self._deliver_all(side)
            case "gap":
                self._gap(channel, which, 1 << number % 41)
            case "send":
                self._send(side, channel, which, 1 + number % 3000)
            case "end":
                self._end(side, channel, which)
            case "acknowledge":
                self._acknowledge(side, channel, which, 1 + number % 3000)
            case "send message":
                self._send_message(side, channel)
            case "resize":
                self._resize(side, channel, number)
            case "leave":
                self._leave(side, channel)
            case "collect":
                self._collect(side)
            case "transfer":
                self._transfer(side, 1 + number % 6000)
            case _:
                raise AssertionError(action)

    def _usable(self, side: Side, channel: int) -> bool:
        known = channel in self.opened if side is Side.CLIENT else channel in self.arrived
        return known and channel not in self.left[side]

    def _open(self, opening: m.AnyMessage) -> None:
        peer = self.pair.client.peer_limits
        assert peer is not None
        if self.pair.client.open_channels < peer.channels:
            channel = self.pair.client.open(opening)
            self.opened[channel] = opening
            for side, by_stream in open_streams(opening).items():
                for stream, offset in by_stream.items():
                    self.offsets[side, channel, stream] = offset

    def _open_and_answer(self, opening: m.AnyMessage) -> None:
        """Open a channel and send its first answer: most other steps need that, and it rarely happens by chance."""
        self._open(opening)
        self._deliver_all(Side.CLIENT)
        self._send_message(Side.SERVER, max(self.opened, default=0))

    def _deliver_all(self, side: Side) -> None:
        self._collect(side)
        self._transfer(side, 1 << 20)

    def _runs(self, channel: int) -> bool:
        return isinstance(self.opened.get(channel), m.RunRequest | m.Attach)

    def _open_for(self, side: Side, channel: int, stream: m.Stream) -> bool:
        """Return whether `side` may now send, end or leave a gap in `stream`."""
        started = side is Side.CLIENT or channel in self.started
        is_open = stream in open_streams(self.opened.get(channel))[side]
        return is_open and started and self._usable(side, channel) and (side, channel, stream) not in self.ended

    def _gap(self, channel: int, which: int, count: int) -> None:
        stream = self._stream(Side.SERVER, which)
        if stream != "stdin" and self._open_for(Side.SERVER, channel, stream):
            key = (Side.SERVER, channel, stream)
            self.pair.server.send(channel, m.GapNotice(stream=stream, offset=self.offsets[key], bytes=count))
            self.offsets[key] += count
            self.sent_data[key] += b"<gap>"

    def _stream(self, side: Side, which: int) -> m.Stream:
        return STREAMS[side][which % len(STREAMS[side])]

    def _send(self, side: Side, channel: int, which: int, count: int) -> None:
        stream = self._stream(side, which)
        end = self.pair.end(side)
        written = self.sent_data[side, channel, stream]
        start = len(written) % 251
        data = PATTERN[start : start + min(count, end.room(channel, stream))]
        if data:
            end.send_data(channel, stream, data)
            written += data
            self.offsets[side, channel, stream] += len(data)

    def _end(self, side: Side, channel: int, which: int) -> None:
        stream = self._stream(side, which)
        if self._open_for(side, channel, stream):
            self.pair.end(side).send(channel, m.End(stream=stream))
            self.ended.add((side, channel, stream))

    def _acknowledge(self, side: Side, channel: int, which: int, count: int) -> None:
        key = (side.peer, channel, self._stream(side.peer, which))
        count = min(count, self.unacknowledged[key])
        started = side is Side.CLIENT or channel in self.started or channel in self.left[side]
        if count and started:
            self.unacknowledged[key] -= count
            self.pair.end(side).acknowledge(channel, key[2], count)

    def _send_message(self, side: Side, channel: int) -> None:
        opening = self.opened.get(channel)
        if opening is None or not self._usable(side, channel):
            return
        if side is Side.CLIENT:
            read_only = isinstance(opening, m.Attach) and opening.read_only
            if self._runs(channel) and not read_only:
                self.pair.client.send(channel, m.Signal(number=2))
        elif not self._runs(channel):
            answer = ANSWERS[type(opening)]
            if type(answer) in FINAL_MESSAGES[side]:
                self.left[side].add(channel)
            self.pair.server.send(channel, answer)
        elif channel not in self.started:
            self.started.add(channel)
            self.pair.server.send(channel, m.Started(pid=1))

    def _resize(self, side: Side, channel: int, columns: int) -> None:
        opening = self.opened.get(channel)
        started = side is Side.CLIENT or channel in self.started
        if (
            opening is not None
            and started
            and self._usable(side, channel)
            and m.Resize in legal_messages(opening)[side]
        ):
            self.pair.end(side).send(channel, m.Resize(columns=columns, rows=24))

    def _leave(self, side: Side, channel: int) -> None:
        if self._usable(side, channel):
            finished = ENDED if self._runs(channel) else m.Error(code=ErrorCode.UNKNOWN_RUN, message="no such run")
            # A client that is known to have left only gets `done`.
            left = channel in self.close_received
            last = m.Close() if side is Side.CLIENT else m.Done() if left else finished
            self.pair.end(side).send(channel, last)
            self.left[side].add(channel)

    def _collect(self, side: Side) -> None:
        self.pair.collect(side)

    def _transfer(self, side: Side, count: int) -> None:
        for event in self.pair.transfer(side, count):
            self._event(side, event)

    def _event(self, speaker: Side, event: Event) -> None:
        assert not isinstance(event, ConnectionFailed), event.error
        match event:
            case DataReceived():
                assert event.channel not in self.left[speaker.peer]
                self.received[speaker, event.channel, event.stream] += event.data
                self.unacknowledged[speaker, event.channel, event.stream] += len(event.data)
            case MessageReceived(message=opening) if type(opening) in CHANNEL_MESSAGES:
                assert opening == self.opened[event.channel]
                self.arrived.add(event.channel)
            case MessageReceived(message=m.GapNotice() as gap):
                received = self.received[speaker, event.channel, gap.stream]
                received += b"<gap>"
            case MessageReceived(message=m.End() as end):
                key = (speaker, event.channel, end.stream)
                assert self.received[key] == self.sent_data[key]
            case MessageReceived(message=m.Ended() | m.Done() | m.Close() as last):
                if isinstance(last, m.Close):
                    self.close_received.add(event.channel)
                if event.channel in self.left[speaker.peer]:
                    return  # everything sent before was dropped
                for stream in STREAMS[speaker]:
                    key = (speaker, event.channel, stream)
                    assert self.received[key] == self.sent_data[key]

    def arrive(self) -> None:
        """Deliver everything that was sent."""
        while self.pair.client.queued or self.pair.server.queued or any(self.pair.wire.values()):
            for side in Side:
                self._deliver_all(side)

    def settle(self) -> None:
        """Close all channels from both sides."""
        self.arrive()
        for side in Side:
            for channel in self.opened:
                self._leave(side, channel)
        self.arrive()


@given(scripts)
@settings(max_examples=300)
def test_streams_arrive_in_order_and_the_sides_agree(script: list[Step]) -> None:
    world = World()
    for step in script:
        world.step(step)
        for side in Side:
            assert world.pair.end(side).queued < 500_000
    for key, received in world.received.items():
        assert world.sent_data[key].startswith(received)
    world.settle()
    assert (world.pair.client.open_channels, world.pair.server.open_channels) == (0, 0)


SAMPLES = [
    *OPENINGS,
    *ANSWERS.values(),
    m.Close(),
    m.Ping(id=1),
    m.Stop(),
    m.Started(pid=1),
    m.Resize(columns=80, rows=24),
    m.Exit(outcome=Exited(code=0)),
]
GAPS = [m.GapNotice(stream=stream, offset=at, bytes=1) for stream in ("stdout", "stderr") for at in range(10)]
LEGAL_FRAMES = [
    *(message(channel, sample) for sample in [*SAMPLES, ENDED] for channel in range(5)),
    *(message(channel, gap) for gap in GAPS for channel in range(1, 5)),
    *(message(channel, m.End(stream="stdin")) for channel in range(1, 5)),
    *(message(channel, m.Credit(stream="stdout", bytes=9)) for channel in range(1, 5)),
]


def _frames(codes: bytes, noise: bytes) -> bytes:
    """Up to 15 frames, one for every three bytes of `codes`: most are legal somewhere, others are built from noise."""
    found = []
    for kind, where, size in zip(*[iter(codes)] * 3, strict=False):
        part, noise = noise[: size % 30], noise[size % 30 :]
        if kind < 192:
            found.append(LEGAL_FRAMES[(kind << 8 | where) % len(LEGAL_FRAMES)])
        elif kind < 224:
            found.append(encode_frame(Kind(1 + where % 4), where >> 2 & 3, part))
        else:
            found.append(part)
    return b"".join(found)


frames = st.builds(_frames, st.binary(max_size=45), st.binary(max_size=100))
phases = st.sampled_from([phase for phase in Phase if phase is not Phase.CLOSED])


@given(sides, phases, frames, st.binary(max_size=40))
@settings(max_examples=400)
def test_chunk_boundaries_do_not_matter(side: Side, phase: Phase, data: bytes, sizes: bytes) -> None:
    whole, cut = in_phase(side, phase), in_phase(side, phase)
    events = list(whole.receive_data(data))
    chunks = []
    rest = data
    for size in (1 + byte % 40 for byte in sizes):
        chunks += list(cut.receive_data(rest[:size]))
        rest = rest[size:]
    chunks += list(cut.receive_data(rest))
    assert list(map(repr, chunks)) == list(map(repr, events))
    assert (cut.phase, cut.open_channels, sent(cut)) == (whole.phase, whole.open_channels, sent(whole))


@given(sides, phases, st.binary(max_size=300) | frames)
@settings(max_examples=400)
def test_no_received_bytes_raise_an_exception(side: Side, phase: Phase, data: bytes) -> None:
    connection = in_phase(side, phase)
    events = list(connection.receive_data(data))
    failures = [event for event in events if isinstance(event, ConnectionFailed)]
    assert len(failures) <= 1
    assert bool(failures) == connection.closed
    if failures:
        assert events[-1] is failures[0]
        assert failures[0].error.code in ErrorCode
        last = sent(connection)[-1]
        assert (last.kind, last.channel, last.message.type) == (Kind.MESSAGE, 0, "error")
