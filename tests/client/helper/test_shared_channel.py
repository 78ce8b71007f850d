"""What is read of a frame that is passed on."""

from __future__ import annotations

import pytest

from farhand_client.helper.framing import BrokenFrame
from farhand_client.helper.shared_channel import SharedChannel, message_type, number_of, readdress
from farhand_protocol.frames import Kind, encode_frame
from tests.support.relay_board import Board, message


async def test_a_channel_belongs_to_its_caller(board: Board) -> None:
    caller, _ = board.caller()
    shared = SharedChannel(caller, 5, 9)
    assert (shared.caller, shared.own_number, shared.number) == (caller, 5, 9)
    assert not shared.caller_closed
    assert not shared.service_finished


def test_a_frame_is_readdressed_and_otherwise_unchanged() -> None:
    frame = bytearray(message(5, "close"))
    readdress(memoryview(frame), 0x01020304)
    assert bytes(frame) == message(0x01020304, "close")


def test_a_ping_without_a_number_is_refused() -> None:
    assert number_of(memoryview(message(0, "ping", id=7))) == 7
    for broken in (message(0, "ping"), message(0, "ping", id="7"), encode_frame(Kind.MESSAGE, 0, b"[1")):
        with pytest.raises(BrokenFrame):
            number_of(memoryview(broken))


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (b'{"type":"close"}', b"close"),
        (b'{"type":"ended","outcome":{}}', b"ended"),
        (b'{"lost":true,"type":"close"}', b"close"),
        (b'{ "type": "done" }', b"done"),
        (b'{"type":"\\u0064one"}', b"done"),
        (b'{"type":7}', b""),
        (b"{}", b""),
    ],
)
def test_the_type_of_a_message_is_found_however_it_is_written(payload: bytes, kind: bytes) -> None:
    assert message_type(memoryview(encode_frame(Kind.MESSAGE, 1, payload))) == kind
