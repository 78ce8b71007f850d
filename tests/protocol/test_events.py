"""A large message is decoded once, in whatever thread, and says what is wrong with it as often as it is asked."""

from __future__ import annotations

import pytest

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode, RemoteProtocolError
from farhand_protocol.events import LargeMessage
from farhand_protocol.limits import Limits

PAYLOAD = b'{"type":"ping","id":7}'


@pytest.mark.parametrize("early", [True, False], ids=["decoded before", "decoded when asked for"])
def test_a_large_message_is_what_decoding_it_returns(early: bool) -> None:
    large = LargeMessage(PAYLOAD, Limits())
    if early:
        large.decode()
    assert large.message() == m.Ping(id=7)
    assert large.message() is large.message()


@pytest.mark.parametrize("early", [True, False], ids=["decoded before", "decoded when asked for"])
def test_what_is_wrong_with_a_large_message_is_raised_each_time(early: bool) -> None:
    large = LargeMessage(PAYLOAD[:-1], Limits())
    if early:
        large.decode()
    errors = []
    for _ in range(2):
        with pytest.raises(RemoteProtocolError) as raised:
            large.message()
        errors.append(raised.value)
    assert [error.code for error in errors] == [ErrorCode.BAD_JSON] * 2
    assert errors[0] is not errors[1], "an exception that is raised twice collects tracebacks, and what these refer to"
