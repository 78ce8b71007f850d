"""One helper for a user and an installation: started by whoever misses it, and gone without a trace."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from farhand_client.helper.process import end_silent_helper
from farhand_client.mux import ask, start
from farhand_client.mux.place import HelperPlace
from farhand_protocol import messages as m
from farhand_protocol.outcome import Exited
from tests.support.client import TIMEOUT
from tests.support.processes import end_of

from .conftest import LentClient, Reachable, has_connection, helper_pid, helper_runs, ready, report, stop


async def test_the_helper_lends_a_connection_and_reports_it(
    place: HelperPlace, reachable: Reachable, borrow: Callable[[], LentClient]
) -> None:
    await ready(place, reachable)
    client, other = borrow(), borrow()
    channel = client.start("sh", "-c", "printf out; printf err >&2; exit 3")
    second = other.start("cat", stdin=True)
    assert client.finish(channel).outcome == Exited(code=3)
    assert client.data == {(channel, "stdout"): b"out", (channel, "stderr"): b"err"}
    shown = json.loads(report(place))
    assert shown["pid"] == helper_pid(place)
    (connection,) = shown["connections"]
    assert (connection["target"], connection["callers"], connection["channels"]) == (reachable.host, 2, 1)
    other.connection.send_data(second, "stdin", b"x" * 1000)
    other.connection.send(second, m.End(stream="stdin"))
    other.flush()
    assert other.finish(second).outcome == Exited(code=0)
    assert other.data[second, "stdout"] == b"x" * 1000


async def test_there_is_only_one_helper(place: HelperPlace, reachable: Reachable) -> None:
    await ready(place, reachable)
    first = helper_pid(place)
    for _ in range(3):
        start.start(place, reachable.offer)
    start.offer_or_start(place, reachable.offer)
    files = sorted(os.listdir(place.directory))
    assert helper_pid(place) == first
    assert sorted(name.partition(b"-")[0] for name in files) == [b"helper", b"helper", b"mux"], files


async def test_a_killed_helper_is_replaced_and_its_socket_is_no_obstacle(
    place: HelperPlace, reachable: Reachable, borrow: Callable[[], LentClient]
) -> None:
    await ready(place, reachable)
    client = borrow()
    os.kill(first := helper_pid(place), signal.SIGKILL)
    assert not client.receive()
    await end_of(first)
    assert os.path.exists(place.connections)
    assert ask.borrow(place, reachable.request()) is None
    await ready(place, reachable)
    assert helper_pid(place) != first


async def test_a_stopped_helper_leaves_no_socket_and_cuts_its_callers(
    place: HelperPlace, reachable: Reachable, borrow: Callable[[], LentClient]
) -> None:
    await ready(place, reachable)
    client, pid = borrow(), helper_pid(place)
    stop(place)
    assert not client.receive()
    await end_of(pid)
    assert not helper_runs(place)
    assert not os.path.exists(place.connections)


async def test_the_helper_goes_when_its_socket_is_removed(place: HelperPlace, reachable: Reachable) -> None:
    await ready(place, reachable)
    pid = helper_pid(place)
    os.unlink(place.connections)
    await end_of(pid)


async def test_a_helper_of_another_version_finishes_and_makes_room(
    place: HelperPlace, reachable: Reachable, borrow: Callable[[], LentClient]
) -> None:
    await ready(place, reachable)
    first, client = helper_pid(place), borrow()
    channel = client.start("cat", stdin=True)
    config = reachable.known_hosts.with_name("config.toml")
    config.write_text("")  # counts as a part of the program
    try:
        assert ask.borrow(place, reachable.request()) is None
        assert not helper_runs(place)
        await ready(place, reachable)
        assert helper_pid(place) != first
        client.connection.send(channel, m.End(stream="stdin"))
        client.flush()
        assert client.finish(channel).outcome == Exited(code=0)
        client.close()
        await end_of(first)
    finally:
        config.unlink()


async def test_the_helper_has_nothing_of_the_command_that_started_it(
    place: HelperPlace, reachable: Reachable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SECRET", "x")
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    await ready(place, reachable)
    os.close(writing)
    async with asyncio.timeout(TIMEOUT):
        assert await asyncio.to_thread(os.read, reading, 1) == b"", "the helper has kept a descriptor"
    os.close(reading)
    pid = helper_pid(place)
    if os.geteuid() == 0:  # others may not look into it
        assert b"A_SECRET" not in Path(f"/proc/{pid}/environ").read_bytes()
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        assert {os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)} == {os.devnull}
    assert os.getsid(pid) != os.getsid(0)


async def test_a_helper_that_does_not_answer_is_replaced(
    place: HelperPlace, reachable: Reachable, borrow: Callable[[], LentClient]
) -> None:
    await ready(place, reachable)
    client, first = borrow(), helper_pid(place)
    assert not end_silent_helper(place), "it answers"
    os.kill(first, signal.SIGSTOP)
    assert ask.borrow(place, reachable.request()) is None
    start.offer_or_start(place, reachable.offer)
    await end_of(first)
    assert not client.receive()
    await has_connection(place)
    assert helper_pid(place) != first
    assert end_silent_helper(HelperPlace(bytes(reachable.service.directory), b"/none")) is False


async def test_a_helper_that_hangs_is_replaced_though_its_queue_is_full(
    place: HelperPlace, reachable: Reachable
) -> None:
    await ready(place, reachable)
    first = helper_pid(place)
    os.kill(first, signal.SIGSTOP)
    with contextlib.ExitStack() as stack, contextlib.suppress(BlockingIOError):
        while True:
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            waiting.connect(place.connections)
    assert ask.reach(place) is None
    start.offer_or_start(place, reachable.offer)
    await end_of(first)
    await has_connection(place)
    assert helper_pid(place) != first
