"""A transfer begins with the options and the worker's answer to them, read to the byte."""

from __future__ import annotations

import pytest

from farhand_client.files.handshake import OptionsRefused, agree
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


def ready(*, delta: bool) -> bytes:
    return wire.encode(wire.ReadyFrame(Ready(delta=delta).to_json()))


@pytest.mark.parametrize("delta", [True, False])
def test_both_sides_transfer_under_what_both_can_do(delta: bool) -> None:
    stream = Answered(ready(delta=delta) + b"what follows")
    assert agree(OPTIONS, stream) == OPTIONS._replace(delta=delta)
    assert stream.answer == b"what follows", "it belongs to the sender or receiver"
    sent = read_exactly_one(Answered(stream.written))
    assert isinstance(sent, wire.OptionsFrame)
    assert TransferOptions.from_json(sent.text) == OPTIONS


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
