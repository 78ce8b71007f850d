"""A transfer begins with the options and the worker's answer to them, read to the byte."""

from __future__ import annotations

import contextlib
import threading

import pytest

from farhand_client.files.handshake import OfferedStream, OptionsRefused, agree
from farhand_files import wire
from farhand_files.options import Ready, TransferOptions
from farhand_files.stream import StreamEnded, read_exactly_one
from farhand_files.wire import WireError

OPTIONS = TransferOptions("put", (b"there",), delta=True, checksum=True)


class Answered:
    """A stream that has an answer, and takes requests; it gives one byte at a time."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.written = b""

    def readinto(self, buffer: memoryview) -> int:
        if not self.answer:
            return 0
        buffer[:1], self.answer = self.answer[:1], self.answer[1:]
        return 1

    def write(self, data: bytes | memoryview) -> None:
        self.written += data


class GoneStream(Answered):
    """A stream whose other side has answered, and reads nothing after the options."""

    def write(self, data: bytes | memoryview) -> None:
        if self.written:
            raise BrokenPipeError("nobody reads")
        super().write(data)


def ready(*, delta: bool) -> bytes:
    return wire.encode(wire.ReadyFrame(Ready(delta=delta).to_json()))


@pytest.mark.parametrize(("requested", "delta"), [(True, True), (True, False), (False, True)])
def test_both_sides_transfer_under_what_both_can_do(requested: bool, delta: bool) -> None:
    stream = Answered(ready(delta=delta) + b"what follows")
    options = OPTIONS._replace(delta=requested)
    assert agree(options, stream) == OPTIONS._replace(delta=requested and delta)
    assert stream.answer == b"what follows", "it belongs to the sender or receiver"
    sent = read_exactly_one(Answered(stream.written))
    assert isinstance(sent, wire.OptionsFrame)
    assert TransferOptions.from_json(sent.text) == options


@pytest.mark.parametrize(
    ("path", "text"),
    [(b"", "only root can give files away"), (b"/srv/\xff", r"/srv/.*: only root can give files away")],
)
def test_a_refusal_is_the_sentence_of_the_worker(path: bytes, text: str) -> None:
    problem = wire.encode(wire.Problem(1, path, b"only root can give files away"))
    with pytest.raises(OptionsRefused, match=text) as refused:
        agree(OPTIONS, Answered(problem))
    assert refused.value.errno == 1


@pytest.mark.parametrize("answer", [b"", ready(delta=True)[:3], ready(delta=True)[:-1]])
def test_an_end_before_the_answer_is_an_end(answer: bytes) -> None:
    with pytest.raises(StreamEnded):
        agree(OPTIONS, Answered(answer))


@pytest.mark.parametrize(
    "answer",
    [
        wire.encode(wire.Skip(1)),
        wire.encode(wire.Summary(b"{}")),
        wire.encode(wire.ReadyFrame(b"{}")),
        b"\xff\xff\xff\xff\x02",
        b"SSH-2.0-OpenSSH",
    ],
)
def test_what_is_no_answer_is_an_error(answer: bytes) -> None:
    with pytest.raises(WireError):
        agree(OPTIONS, Answered(answer))


def test_a_sender_begins_before_the_answer_and_reads_what_follows_it() -> None:
    stream = Answered(ready(delta=False) + b"what follows")
    offered = OfferedStream(OPTIONS, stream)
    offered.write(b"content")
    assert stream.answer == ready(delta=False) + b"what follows", "nothing is awaited"
    sent = Answered(stream.written)
    assert isinstance(read_exactly_one(sent), wire.OptionsFrame)
    assert sent.answer == b"content"
    buffer = memoryview(bytearray(100))
    assert b"".join(bytes(buffer[: offered.readinto(buffer)]) for _ in b"what follows") == b"what follows"


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (wire.encode(wire.Problem(1, b"", b"only root can give files away")), OptionsRefused),
        (b"Last login: today, from somewhere", WireError),
        (ready(delta=True), BrokenPipeError),
        (b"", BrokenPipeError),
    ],
)
def test_a_refusal_wins_over_the_end_of_the_stream_that_it_causes(answer: bytes, raised: type[Exception]) -> None:
    offered = OfferedStream(OPTIONS, GoneStream(answer))
    written: list[BaseException] = []

    def write() -> None:
        try:
            offered.write(b"content")
        except Exception as error:  # noqa: BLE001  # compared below
            written.append(error)

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    with contextlib.suppress(OptionsRefused, WireError, StreamEnded):
        offered.readinto(memoryview(bytearray(1)))
    for thread in threads:
        thread.join(20)
    assert [type(error) for error in written] == [raised, raised]
