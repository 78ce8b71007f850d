"""The state of one channel: what its opening allows, and what each message changes."""

from __future__ import annotations

import pytest

from farhand_protocol import messages as m
from farhand_protocol.channel import Channel, legal_messages, open_streams
from farhand_protocol.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from farhand_protocol.outcome import Exited
from farhand_protocol.states import UNREADABLE_OPENING, Side
from tests.support.pairs import RUN_ID, run

ENDED = m.Ended(outcome=Exited(code=0), stdout=0, stderr=0, duration=0)


def channel(side: Side, opening: m.AnyMessage | None = None) -> Channel:
    return Channel(1, opening or run(), side, send_window=100, receive_window=200)


def service_after_started() -> Channel:
    service = channel(Side.SERVER)
    service.message_sent(m.Started(pid=1))
    return service


@pytest.mark.parametrize(
    ("opening", "client", "service"),
    [
        (run(), {"stdin": 0}, {"stdout": 0, "stderr": 0}),
        (run(stdin=False, merge_stderr=True), {}, {"stdout": 0}),
        (m.Attach(id=RUN_ID, stdin=3, stderr=5), {"stdin": 3}, {"stderr": 5}),
        (m.List(), {}, {}),
        (None, {}, {}),
    ],
)
def test_the_opening_says_which_streams_are_open(
    opening: m.AnyMessage | None, client: dict[m.Stream, int], service: dict[m.Stream, int]
) -> None:
    assert open_streams(opening) == {Side.CLIENT: client, Side.SERVER: service}


def test_an_opening_that_was_not_understood_allows_only_a_close() -> None:
    assert legal_messages(None) == UNREADABLE_OPENING


def test_nothing_follows_the_final_message() -> None:
    service = service_after_started()
    service.message_sent(ENDED)
    with pytest.raises(LocalProtocolError, match="after the final message"):
        service.message_sent(ENDED)
    assert service.send_window("stdout") is None


def test_a_stream_ends_once() -> None:
    service = service_after_started()
    service.message_sent(m.End(stream="stdout"))
    with pytest.raises(LocalProtocolError, match="stdout is not open"):
        service.message_sent(m.End(stream="stdout"))


def test_a_gap_moves_both_ends_by_its_bytes() -> None:
    service, client = service_after_started(), channel(Side.CLIENT)
    client.message_received(m.Started(pid=1))
    for offset, count in ((0, 7), (7, 1)):
        service.message_sent(m.GapNotice(stream="stdout", offset=offset, bytes=count))
        client.message_received(m.GapNotice(stream="stdout", offset=offset, bytes=count))
    assert (service.sends["stdout"].offset, client.receives["stdout"].offset) == (8, 8)


def test_credit_for_a_stream_that_is_not_open_is_ignored() -> None:
    service = service_after_started()
    service.message_sent(m.End(stream="stdout"))
    service.message_received(m.Credit(stream="stdout", bytes=9))
    service.message_received(m.Credit(stream="stderr", bytes=9))
    assert {stream: window.credit for stream, window in service.sends.items()} == {"stderr": 109}


def test_a_channel_closes_with_the_final_messages_of_both_sides() -> None:
    service = service_after_started()
    service.message_received(m.Close())
    assert (service.peer_finished, service.receives, service.closed) == (True, {}, False)
    service.message_sent(m.Done())
    assert service.closed


def test_nothing_arrives_on_a_stream_that_is_not_open_or_before_started() -> None:
    client = channel(Side.CLIENT)
    for stream, code in (("stdin", ErrorCode.DATA_AFTER_END), ("stdout", ErrorCode.NOT_LEGAL)):
        with pytest.raises(RemoteProtocolError) as refused:
            client.receive_window(stream)  # type: ignore[arg-type]  # one of the streams
        assert refused.value.code is code
