"""The core's selector does what asyncio's usual one does, and says when a turn begins and ends."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator
from selectors import EVENT_READ, EVENT_WRITE

import pytest

from farhand_server import selector
from farhand_server.selector import WatchedSelector


class Turns:
    """Notes what the selector says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def begin(self) -> None:
        self.said.append("begin")

    def end(self) -> None:
        self.said.append("end")


@pytest.fixture
def watched() -> Iterator[WatchedSelector]:
    found = WatchedSelector(Turns())
    yield found
    found.close()


def test_each_wait_is_between_two_turns() -> None:
    turns = Turns()
    with WatchedSelector(turns) as found:
        assert found.select(0) == []
        assert turns.said == ["end", "begin"]


def test_it_finds_the_same_as_the_usual_selector(watched: WatchedSelector) -> None:
    ours, peer = socket.socketpair()
    with ours, peer, selectors.EpollSelector() as usual:
        for each in (watched, usual):
            assert each.register(ours, EVENT_READ, "data") == (ours, ours.fileno(), EVENT_READ, "data")
            with pytest.raises(KeyError):
                each.register(ours, EVENT_READ)
        for events, arrived in ((EVENT_READ, False), (EVENT_READ | EVENT_WRITE, False), (EVENT_READ, True)):
            if arrived:
                peer.send(b"x")
            for each in (watched, usual):
                each.modify(ours.fileno(), events, "new")
                assert each.get_key(ours).data == "new"
            assert watched.select(0) == usual.select(0)
        peer.close()
        watched.modify(ours, EVENT_READ | EVENT_WRITE), usual.modify(ours, EVENT_READ | EVENT_WRITE)
        assert watched.select(None) == usual.select(None)
        assert dict(watched.get_map()) == dict(usual.get_map())
        for each in (watched, usual):
            each.unregister(ours)
            with pytest.raises(KeyError):
                each.get_key(ours)
        assert (watched.select(-1), dict(watched.get_map())) == ([], {})


def test_its_map_follows_what_is_registered_and_also_finds_objects_with_a_descriptor(watched: WatchedSelector) -> None:
    registered = watched.get_map()
    ours, peer = socket.socketpair()
    with ours, peer:
        assert (registered.get(ours), len(registered)) == (None, 0)
        key = watched.register(ours.fileno(), EVENT_READ)
        assert watched.get_map() is registered  # not a copy: asyncio gets it for each reader
        assert (registered.get(ours), registered.get(ours.fileno()), list(registered)) == (key, key, [ours.fileno()])


def test_a_descriptor_that_is_closed_can_be_unregistered(watched: WatchedSelector) -> None:
    ours, peer = socket.socketpair()
    descriptor = ours.fileno()
    watched.register(descriptor, EVENT_READ)
    ours.close()
    peer.close()
    assert watched.unregister(descriptor).fd == descriptor


def test_a_wait_does_not_end_before_its_time(watched: WatchedSelector) -> None:
    until = time.monotonic() + 0.0105
    assert watched.select(0.0105) == []
    assert time.monotonic() >= until


def test_what_is_ready_beyond_the_events_of_one_turn_is_found_in_the_next(
    watched: WatchedSelector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selector, "READY_PER_TURN", 2)
    pairs = [socket.socketpair() for _ in range(5)]
    for ours, _ in pairs:
        watched.register(ours, EVENT_WRITE)
    found = {key.fd for _ in range(3) for key, _ in watched.select(0)}
    assert found == {ours.fileno() for ours, _ in pairs}
    for pair in pairs:
        for each in pair:
            each.close()
