"""Kept forwards are made all or none, counted, and begun again whatever ends them but their user."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from farhand_client.errors import ConnectionLost, FarhandError, ForwardError
from farhand_client.forwards.forward import Forward
from farhand_client.forwards.reports import ForwardedConnection, ForwardEvent, WatchForward
from farhand_client.forwards.specs import ForwardSpec, parse_spec
from farhand_client.kept import holding
from farhand_client.kept.holding import HeldForwards
from farhand_client.kept.place import KeptError
from farhand_client.kept.requests import MAX_KEPT_FORWARDS
from farhand_forwards.targets import ForwardTarget, InetTarget

TIMEOUT = 20.0
CHOSEN_PORT = 43210


class FakeForward:
    """A forward that listens on nothing."""

    def __init__(self, spec: ForwardSpec, watch: WatchForward) -> None:
        self.spec = spec
        self.watch = watch
        self.connections: tuple[ForwardedConnection, ...] = ()
        self.closed = False
        address: ForwardTarget = spec.listen
        if isinstance(address, InetTarget) and not address.port:
            address = address._replace(port=CHOSEN_PORT)
        self.address = address

    async def close(self) -> None:
        self.closed = True


class FakeFlow:
    """What a connection's numbers come from."""

    address = InetTarget("192.0.2.1", 80)

    def __init__(self, sent: int, received: int) -> None:
        self.sent = sent
        self.received = received


class Beginning:
    """Begins forwards, and refuses those that a test names."""

    def __init__(self) -> None:
        self.refused: dict[str, FarhandError] = {}
        self.begun: list[FakeForward] = []
        self.changed = asyncio.Event()

    async def __call__(self, spec: ForwardSpec, watch: WatchForward) -> Forward:
        self.changed.set()
        if spec.text in self.refused:
            raise self.refused[spec.text]
        self.begun.append(FakeForward(spec, watch))
        return cast(Forward, self.begun[-1])


@pytest.fixture
def beginning() -> Beginning:
    return Beginning()


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def held(beginning: Beginning, log: list[str]) -> HeldForwards:
    return HeldForwards(beginning, log.append)


def local(text: str) -> ForwardSpec:
    return parse_spec("-L", text)


def connection(sent: int, received: int) -> ForwardedConnection:
    made = ForwardedConnection("127.0.0.1:5000", InetTarget("db", 80))
    made.joined(cast(Any, FakeFlow(sent, received)))
    return made


async def until(condition: Callable[[], bool], changed: asyncio.Event) -> None:
    async with asyncio.timeout(TIMEOUT):
        while not condition():
            changed.clear()
            await changed.wait()
            await asyncio.sleep(0)


async def test_if_one_cannot_be_made_none_is(held: HeldForwards, beginning: Beginning) -> None:
    await held.add([local("1:db:80")])
    beginning.refused["3:db:80"] = ForwardError("busy", "port 3 is in use")
    with pytest.raises(ForwardError, match="port 3"):
        await held.add([local("2:db:80"), local("3:db:80")])
    assert [(each.spec.text, each.closed) for each in beginning.begun] == [("1:db:80", False), ("2:db:80", True)]
    assert [each["forward"] for each in held.report()] == ["-L 1:db:80"]


async def test_the_same_forward_is_kept_once_and_any_port_any_number_of_times(held: HeldForwards) -> None:
    await held.add([local("1:db:80")])
    with pytest.raises(KeptError, match="-L 1:db:80 is kept already"):
        await held.add([local("1:db:80")])
    await held.add([local("0:db:80"), local("0:db:80")])
    assert len(held) == 3


async def test_there_is_a_bound(held: HeldForwards) -> None:
    await held.add([local(f"{port}:db:80") for port in range(1, MAX_KEPT_FORWARDS + 1)])
    with pytest.raises(KeptError, match="at most"):
        await held.add([local("1000:db:80")])


async def test_a_forward_is_cancelled_by_what_was_asked_for_or_its_real_port(
    held: HeldForwards, beginning: Beginning
) -> None:
    await held.add([local("0:db:80"), local("0:web:80"), local("1:db:80")])
    await held.cancel([local(f"{CHOSEN_PORT}:db:80"), local("0:web:80")])
    assert [each.closed for each in beginning.begun] == [True, True, False]
    with pytest.raises(KeptError, match=r"-L 2:db:80 is not kept; kept: -L 1:db:80"):
        await held.cancel([local("1:db:80"), local("2:db:80")])
    assert len(held) == 1
    await held.close()
    assert all(each.closed for each in beginning.begun)


async def test_the_numbers_are_those_of_all_connections(held: HeldForwards, beginning: Beginning) -> None:
    await held.add([local("0:db:80")])
    (forward,) = beginning.begun
    ended, going_on = connection(10, 200), connection(1, 2)
    for each in (ended, going_on):
        forward.watch(ForwardEvent("opened", each))
    forward.watch(ForwardEvent("closed", ended, ConnectionResetError("reset")))
    forward.watch(ForwardEvent("refused", connection(0, 0), ForwardError("refused", "Connection refused")))
    forward.connections = (going_on,)
    (report,) = held.report()
    assert {name: report[name] for name in ("listen", "port", "connections", "open", "refused")} == {
        "listen": f"localhost:{CHOSEN_PORT}",
        "port": CHOSEN_PORT,
        "connections": 3,
        "open": 1,
        "refused": 1,
    }
    assert (report["sent"], report["received"]) == (11, 202)
    forward.watch(ForwardEvent("refused", going_on, ForwardError("refused", "Connection refused")))
    report = held.report()[0]
    assert (report["connections"], report["refused"]) == (3, 2), "one that was opened and then refused is one"


async def test_the_log_names_what_goes_wrong(held: HeldForwards, beginning: Beginning, log: list[str]) -> None:
    await held.add([local("1:db:80")])
    (forward,) = beginning.begun
    made = connection(1, 2)
    forward.watch(ForwardEvent("opened", made))
    forward.watch(ForwardEvent("closed", made))
    assert log == []
    forward.watch(ForwardEvent("closed", made, ConnectionResetError("reset")))
    forward.watch(ForwardEvent("refused", made, ForwardError("refused", "Connection refused")))
    forward.watch(ForwardEvent("lost", error=ConnectionLost("the worker is gone")))
    forward.watch(ForwardEvent("restored"))
    assert log == [
        "-L 1:db:80: the connection from 127.0.0.1:5000 to db:80 ended early: reset",
        "-L 1:db:80: refused the connection from 127.0.0.1:5000 to db:80: Connection refused",
        "-L 1:db:80: not listening: the worker is gone",
        "-L 1:db:80: listening again on localhost:1",
    ]


async def test_a_forward_that_fails_is_begun_again_on_the_same_port(
    held: HeldForwards, beginning: Beginning, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "MIN_RETRY_DELAY", 0.001)
    await held.add([local("0:db:80")])
    beginning.refused[f"{CHOSEN_PORT}:db:80"] = ForwardError("busy", "in use")
    beginning.begun[0].watch(ForwardEvent("failed", error=ConnectionLost("the worker is gone")))
    assert held.report()[0]["error"] == "the worker is gone"
    assert log == ["-L 0:db:80: failed: the worker is gone"]
    beginning.changed.clear()
    await until(lambda: any("still not listening: in use" in line for line in log), beginning.changed)
    beginning.refused.clear()
    await until(lambda: len(beginning.begun) == 2, beginning.changed)
    assert beginning.begun[1].spec == local(f"{CHOSEN_PORT}:db:80")
    report = held.report()[0]
    assert "error" not in report
    assert report["forward"] == "-L 0:db:80"
    await held.close()


async def test_a_cancelled_forward_is_not_begun_again(held: HeldForwards, beginning: Beginning) -> None:
    await held.add([local("1:db:80")])
    beginning.begun[0].watch(ForwardEvent("failed", error=ConnectionLost("gone")))
    await held.cancel([local("1:db:80")])
    assert held.report() == []
    assert len(asyncio.all_tasks()) == 1


async def test_during_a_pause_none_listens_and_afterwards_all_do(held: HeldForwards, beginning: Beginning) -> None:
    await held.add([local("1:db:80"), parse_spec("-R", "/tmp/a:/tmp/b")])
    await held.pause(ConnectionLost("the login was refused"))
    assert all(each.closed for each in beginning.begun)
    assert [each["error"] for each in held.report()] == ["the login was refused"] * 2
    beginning.changed.clear()
    held.resume()
    await until(lambda: len(beginning.begun) == 4, beginning.changed)
    assert not any("error" in each for each in held.report())
    await held.close()


async def test_during_a_pause_a_forward_that_had_failed_is_not_begun_again(
    held: HeldForwards, beginning: Beginning
) -> None:
    await held.add([local("1:db:80")])
    beginning.begun[0].watch(ForwardEvent("failed", error=ConnectionLost("gone")))
    await held.pause(ConnectionLost("the login was refused"))
    assert len(asyncio.all_tasks()) == 1
    assert len(beginning.begun) == 1


async def test_what_is_ended_during_a_pause_stays_ended(
    held: HeldForwards, beginning: Beginning, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing, goes_on = asyncio.Event(), asyncio.Event()

    async def close(forward: FakeForward) -> None:
        closing.set()
        await goes_on.wait()

    await held.add([local("1:db:80"), local("2:db:80")])
    monkeypatch.setattr(FakeForward, "close", close)
    pausing = asyncio.ensure_future(held.pause(ConnectionLost("the login was refused")))
    await closing.wait()
    ending = asyncio.ensure_future(held.close())
    await asyncio.sleep(0)
    goes_on.set()
    await asyncio.gather(pausing, ending)
    held.resume()
    assert held.report() == []
    assert len(beginning.begun) == 2
