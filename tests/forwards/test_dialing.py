"""What is connected to is exactly an address that was allowed, and why not is said in a sentence."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from farhand_forwards import dialing
from farhand_forwards.dialing import SHARED_BACKLOG_DELAY, Dialer, connect_any, connect_refused
from farhand_forwards.targets import ForwardRefused, ForwardTarget, InetTarget, UnixTarget


def server(host: str = "127.0.0.1") -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, 0), family=family)


def port(listening: socket.socket) -> int:
    return int(listening.getsockname()[1])


def unused() -> socket.socket:
    """Take a port on which nothing listens, so that nobody else can, and no connection to it comes from itself."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    return taken


async def refused(dialer: Dialer, target: ForwardTarget) -> ForwardRefused:
    with pytest.raises(ForwardRefused) as error:
        await dialer.connect(target)
    return error.value


async def test_a_name_is_resolved_and_each_address_is_judged() -> None:
    judged = []

    def allowed(target: ForwardTarget, address: str | None) -> str | None:
        judged.append((target, address))
        return None if address == "127.0.0.1" else f"{address} is denied"

    with server() as listening:
        target = InetTarget("localhost", port(listening))
        with await Dialer(allowed).connect(target) as sock:
            assert sock.getpeername() == listening.getsockname()
            assert not sock.getblocking()
    assert (target, "127.0.0.1") in judged
    error = await refused(Dialer(lambda target, address: "no"), target)
    assert (error.cause, str(error)) == ("denied", "no")


@pytest.mark.parametrize("spelling", ["127.1", "2130706433", "0x7f.1", "0177.0.0.1"])
async def test_every_spelling_of_an_address_is_judged_as_what_it_is(spelling: str) -> None:
    def allowed(target: ForwardTarget, address: str | None) -> str | None:
        return f"judged {address}"

    assert str(await refused(Dialer(allowed), InetTarget(spelling, 80))) == "judged 127.0.0.1"


async def test_a_refused_connection_is_told_in_a_sentence() -> None:
    with unused() as taken:
        target = InetTarget("127.0.0.1", port(taken))
        error = await refused(Dialer(), target)
    assert (error.cause, str(error)) == ("refused", f"cannot connect to {target}: nothing listens there")


async def test_a_name_without_address_is_told() -> None:
    error = await refused(Dialer(), InetTarget("no-such-host.invalid", 80))
    assert error.cause == "unresolved"
    assert "no-such-host.invalid has no address" in str(error)
    assert (await refused(Dialer(), InetTarget("x" * 80, 80))).cause == "unresolved"


async def test_a_name_server_that_does_not_answer_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    going_on = asyncio.Event()
    really = socket.getaddrinfo

    def slow(*args: Any, **kwargs: Any) -> Any:
        if kwargs["flags"] == 0:
            asyncio.run_coroutine_threadsafe(going_on.wait(), loop).result()
        return really(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    monkeypatch.setattr(dialing, "RESOLVE_TIMEOUT", 0.05)
    dialer = Dialer()
    error = await refused(dialer, InetTarget("localhost", 80))
    assert (error.cause, str(error)) == ("unresolved", "cannot connect to localhost:80: no name server answered")
    waiting = asyncio.ensure_future(dialer.connect(InetTarget("localhost", 80)))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    going_on.set()


async def test_an_address_that_does_not_answer_is_waited_for_only_so_long() -> None:
    with server() as listening:
        listening.listen(0)
        address = listening.getsockname()
        waiting = []
        for _ in range(3):  # until its queue is full
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(address)
        error = await refused(Dialer(timeout=0.2), InetTarget(address[0], address[1]))
        assert (error.cause, str(error)) == (
            "timeout",
            f"cannot connect to {address[0]}:{address[1]}: it did not answer",
        )
        for each in waiting:
            each.close()


async def test_the_next_address_is_tried_while_one_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialing, "NEXT_ATTEMPT_DELAY", 0.01)
    attempt = dialing._attempt  # noqa: SLF001  # no address of the tests is silent for sure
    cancelled = asyncio.Event()

    async def silent_first(family: socket.AddressFamily, address: Any) -> socket.socket:
        if address[1] == 1:
            try:
                await asyncio.sleep(3600)
            finally:
                cancelled.set()
        return await attempt(family, address)

    monkeypatch.setattr(dialing, "_attempt", silent_first)
    with server("::1") as other:
        addresses: list[Any] = [
            (socket.AF_INET, ("192.0.2.1", 1)),
            (socket.AF_INET, ("192.0.2.2", 1)),
            (socket.AF_INET6, other.getsockname()),
        ]
        with await connect_any(addresses) as sock:
            assert sock.family == socket.AF_INET6  # families alternate
        async with asyncio.timeout(20):
            await cancelled.wait()
        with unused() as one, unused() as another, pytest.raises(ConnectionRefusedError):
            await connect_any([(socket.AF_INET, one.getsockname()), (socket.AF_INET, another.getsockname())])


async def test_a_unix_socket_is_connected_to_by_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", os.fspath(tmp_path))
    judged: list[ForwardTarget] = []

    def allowed(target: ForwardTarget, address: str | None) -> str | None:
        assert address is None
        judged.append(target)
        return None

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fspath(tmp_path / "s"))
        listening.listen()
        (await Dialer(allowed).connect(UnixTarget(b"s"))).close()
        assert judged == [UnixTarget(os.fsencode(tmp_path / "s"))]
    assert (await refused(Dialer(), UnixTarget(b"s"))).cause == "refused"
    error = await refused(Dialer(), UnixTarget(b"none"))
    assert (error.cause, str(error)) == ("refused", "cannot connect to none: there is no such socket")
    assert "its path has" in str(await refused(Dialer(), UnixTarget(b"x" * 107)))
    denied = await refused(Dialer(lambda target, address: "no sockets"), UnixTarget(b"s"))
    assert str(denied) == "no sockets"


async def test_a_unix_socket_whose_queue_is_full_is_waited_for(tmp_path: Path) -> None:
    path = os.fspath(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as first:
        listening.bind(path)
        listening.listen(0)
        first.connect(path)
        assert (await refused(Dialer(timeout=0.05), UnixTarget(os.fsencode(path)))).cause == "timeout"
        connecting = asyncio.ensure_future(Dialer().connect(UnixTarget(os.fsencode(path))))
        await asyncio.sleep(0)
        accepted, _ = listening.accept()
        (await connecting).close()
        accepted.close()


async def test_udp_is_connected_without_a_word() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target:
        target.bind(("127.0.0.1", 0))
        with await Dialer().connect(InetTarget("localhost", port(target), "udp")) as sock:
            sock.send(b"x")
            assert target.recv(10) == b"x"


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.EHOSTUNREACH, "unreachable"),
        (errno.ENETUNREACH, "unreachable"),
        (errno.EACCES, "denied"),
        (errno.EMFILE, "busy"),
        (errno.ETIMEDOUT, "timeout"),
        (errno.EIO, "failed"),
    ],
)
def test_an_error_of_the_system_has_a_cause(number: int, cause: str) -> None:
    error = connect_refused(InetTarget("web", 80), OSError(number, os.strerror(number)))
    assert error.cause == cause
    assert str(error).startswith("cannot connect to web:80: ")


async def test_full_queues_are_tried_ever_less_often_and_at_a_bounded_rate_by_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    sleep = asyncio.sleep

    async def shorter(delay: float) -> None:
        slept.append(delay)
        await sleep(0)

    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as first:
        listening.bind(os.fspath(path))
        listening.listen(0)
        first.connect(os.fspath(path))
        monkeypatch.setattr(asyncio, "sleep", shorter)
        dialer = Dialer()
        tasks = [asyncio.ensure_future(dialer.connect(UnixTarget(os.fsencode(path))))]
        while len(slept) < 10:
            await sleep(0)
        assert slept[:8] == [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0]
        assert slept[9] == 1.0
        tasks += [asyncio.ensure_future(dialer.connect(UnixTarget(os.fsencode(path)))) for _ in range(399)]
        while len(slept) < 1000:
            await sleep(0)
        assert max(slept) <= 400 * SHARED_BACKLOG_DELAY
        assert max(slept) > 300 * SHARED_BACKLOG_DELAY
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
