"""Whoever waits for the end of a connection learns its reason, once."""

from __future__ import annotations

from typing import Any, cast

from farhand_client.errors import ConnectionLost
from farhand_client.forwards.connection_end import ConnectionEnd


class Registering:
    """The part of a connection at which things are registered."""

    def __init__(self) -> None:
        self.registered: list[Any] = []

    def register(self, resumable: Any) -> None:
        self.registered.append(resumable)

    def unregister(self, resumable: Any) -> None:
        self.registered.remove(resumable)


async def test_the_first_reason_is_the_reason() -> None:
    connection = Registering()
    end = ConnectionEnd(cast(Any, connection))
    assert connection.registered == [end]
    end.open(cast(Any, None))
    assert not end.ended.done()
    lost = ConnectionLost("could not reconnect")
    end.fail(lost)
    end.client_closed(ConnectionLost("closed"))
    assert end.ended.result() is lost


async def test_who_waits_no_longer_is_forgotten() -> None:
    connection = Registering()
    end = ConnectionEnd(cast(Any, connection))
    end.forget()
    assert connection.registered == []
