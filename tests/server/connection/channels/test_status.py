"""A question about the service is answered at once, and only once."""

from __future__ import annotations

from farhand_protocol import messages as m
from farhand_server.connection.channels.status import StatusChannel
from tests.support.fake_session import FakeSession


async def test_the_status_at_the_time_of_the_question_is_the_only_answer() -> None:
    session = FakeSession()
    status = m.ServiceStatus(pid=1, uptime=2.5, runs=3, connections=4, faults=("it has no room",))
    channel = StatusChannel(session, session.open(m.StatusRequest()), lambda: status)
    channel.begin()
    session.close(channel.number)
    assert session.received[channel.number] == [status]
    assert session.forgotten == [channel]
