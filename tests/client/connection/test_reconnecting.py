"""When a client reconnects, how often and for how long, and what is known of a run after a permanent loss."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client import (
    AuthenticationError,
    ConnectionLost,
    HostKeyChanged,
    Outage,
    RequestRefused,
    connect,
)
from farhand_client.connection.reconnecting import MAX_FIRST_RETRY_DELAY, MAX_RETRY_DELAY, Backoff
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from tests.support import openssh
from tests.support.fake_runs import Gate, stoppable
from tests.support.fake_service import FakeConnection, FakeRun, FakeService, client_of, welcome
from tests.support.fake_tls import port, record, tls_service
from tests.support.tls import tls


@given(st.floats(0, 1e6), st.floats(0.001, 1000), st.integers(0, 200))
def test_retry_delays_double_up_to_a_maximum(now: float, timeout: float, before: int) -> None:
    backoff = Backoff(now, timeout)
    backoff.attempts = before
    delay = backoff.delay(now)
    assert delay is not None
    assert 0 <= delay <= min(MAX_RETRY_DELAY, MAX_FIRST_RETRY_DELAY * 2.0**before, timeout) + 1e-9
    assert backoff.delay(now + timeout) is None
    assert backoff.left(now + 2 * timeout) == 0


@pytest.mark.parametrize("reconnect", [None, 0, 0.3])
async def test_a_permanent_loss_says_what_is_known_of_the_run(tmp_path: Path, reconnect: Any) -> None:
    async with client_of(tmp_path, stoppable, reconnect=reconnect) as (client, service):
        runs = [
            await client.start(["prog"]),
            await client.start(["prog"], grace=300),
            await client.start(["prog"], on_disconnect="keep"),
            await client.attach((await client.start(["prog"])).id),
        ]
        service.greet = lambda fake, _: fake.cut()
        service.connections[0].cut()
        reported = ["stops it 60 seconds after", "stops it 300 seconds after", "keeps it", "may still know it"]
        for run, known in zip(runs, reported, strict=True):
            with pytest.raises(ConnectionLost, match=known) as caught:
                await run.wait()
            assert f"farhand attach {client.name} {run.id}" in str(caught.value)
            assert (caught.value.run_id, caught.value.may_have_run) == (run.id, True)
            if reconnect:
                assert "could not reconnect within 0.3 seconds: " in str(caught.value)
        with pytest.raises(ConnectionLost) as lost:
            await client.ping()
        assert not lost.value.may_have_run
        assert not client.connected


async def test_watch_is_notified_of_the_outage_and_of_its_end(tmp_path: Path) -> None:
    reported: asyncio.Queue[Outage | None] = asyncio.Queue()
    async with client_of(tmp_path, reconnect=30, watch=reported.put_nowait) as (_, service):
        service.connections[0].cut()
        outage, end = await reported.get(), await reported.get()
    assert outage is not None
    assert "was closed by the peer" in str(outage.cause)
    assert (0 < outage.left <= 30, end) == (True, None)


@pytest.mark.parametrize("code", [ErrorCode.DENIED, ErrorCode.UNSUPPORTED_VERSION])
async def test_a_refusal_that_is_final_ends_reconnecting(tmp_path: Path, code: ErrorCode) -> None:
    def greet(fake: FakeConnection, _: m.AnyMessage) -> None:
        fake.send(m.Error(code=code, message="no more"))

    async with client_of(tmp_path, stoppable, reconnect=30) as (client, service), client.start(["prog"]) as run:
        service.greet = greet
        service.connections[0].cut()
        with pytest.raises(ConnectionLost, match=r"cannot reconnect: .*no more") as caught:
            await run.wait()
        assert isinstance(caught.value.__cause__, RequestRefused)
        assert len(service.connections) == 2


@pytest.mark.parametrize("code", [ErrorCode.DRAINING, ErrorCode.INTERNAL, ErrorCode.LOGIN_TIMEOUT])
async def test_a_refusal_that_is_temporary_is_tried_again(tmp_path: Path, code: ErrorCode) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        if len(service.runs) == 1:
            run.client.send(m.Error(code=code, message="for now"))
        else:
            run.ended()

    async with client_of(tmp_path, behave, reconnect=30) as (client, service):
        assert (await client.run(["prog"])).returncode == 0


async def test_a_service_that_crashes_on_a_request_is_given_up_in_time(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.client.cut()

    async with client_of(tmp_path, behave, reconnect=0.5) as (client, service):
        with pytest.raises(ConnectionLost, match=r"within 0\.5 seconds"):
            await client.run(["prog"])
        assert 2 <= len(service.connections) < 40


@pytest.mark.usefixtures("home")
async def test_a_changed_host_key_ends_reconnecting_before_anything_is_sent(tmp_path: Path) -> None:
    async with tls_service(tmp_path) as (service, _):
        service.behave = stoppable
        async with connect(service.host) as client, client.start(["prog"]) as run:
            _, other = tls(tmp_path / "other")
            path = record(tmp_path).path
            path.unlink()
            record(tmp_path).add("127.0.0.1", port(service), other)
            service.connections[0].cut()
            with pytest.raises(ConnectionLost, match="HAS CHANGED") as caught:
                await run.wait()
            assert isinstance(caught.value.__cause__, HostKeyChanged)
            assert service.connections[-1].messages == []


@pytest.mark.usefixtures("home")
async def test_reconnecting_uses_the_accepted_key_without_asking_for_its_passphrase(tmp_path: Path) -> None:
    key = openssh.make_key(tmp_path / "secret", passphrase="open sesame")
    openssh.make_key(tmp_path / "other")
    asked = []

    def greet(fake: FakeConnection, message: m.AnyMessage) -> None:
        if isinstance(message, m.Hello):
            fake.send(welcome(fake, login=True))
        elif isinstance(message, m.Login) and message.public_key == key.blob:
            fake.send(m.Accepted(user="ann", host="fake"))
        else:
            fake.send(m.Refused(attempts_left=3))

    async def passphrase(*_: Any) -> str:
        asked.append(_)
        return "open sesame"

    async with (
        tls_service(tmp_path, greet=greet) as (service, _),
        connect(service.host, identities=[tmp_path / "other", tmp_path / "secret"], passphrase=passphrase) as client,
    ):
        for _ in range(2):
            service.connections[-1].cut()
            await service.connections[-1].closed.wait()
            await client.ping()
    logins = [sum(isinstance(one, m.Login) for one in connection.messages) for connection in service.connections]
    assert (logins, len(asked)) == ([2, 1, 1], 1)


@pytest.mark.needs("ssh-agent", "ssh-add")
@pytest.mark.usefixtures("home")
async def test_an_agent_that_is_gone_for_a_while_does_not_end_reconnecting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openssh.make_key(tmp_path / "id")

    def greet(fake: FakeConnection, message: m.AnyMessage) -> None:
        fake.send(welcome(fake, login=True) if isinstance(message, m.Hello) else m.Accepted(user="ann", host="fake"))

    async with tls_service(tmp_path, greet=greet) as (service, _):
        with openssh.running_agent(tmp_path, tmp_path / "id") as agent:
            monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
            client = await connect(service.host)
        async with client:
            agent.unlink(missing_ok=True)
            service.connections[0].cut()
            while len(service.connections) < 2:  # noqa: ASYNC110  # the attempt without an agent
                await asyncio.sleep(0.01)
            await service.connections[1].closed.wait()
            with openssh.running_agent(tmp_path, tmp_path / "id"):
                await client.ping()


@pytest.mark.usefixtures("home")
async def test_a_key_that_is_no_longer_accepted_ends_reconnecting(tmp_path: Path) -> None:
    openssh.make_key(tmp_path / "id")

    def greet(fake: FakeConnection, message: m.AnyMessage) -> None:
        if isinstance(message, m.Hello):
            fake.send(welcome(fake, login=True))
        elif isinstance(message, m.Login) and len(service.connections) == 1:
            fake.send(m.Accepted(user="ann", host="fake"))
        elif isinstance(message, m.Login):
            fake.send(m.Error(code=ErrorCode.LOGIN_FAILED, message="no"))

    async with (
        tls_service(tmp_path, greet=greet) as (service, _),
        connect(service.host, identities=[tmp_path / "id"]) as client,
    ):
        service.connections[0].fall_silent()
        pinging = asyncio.ensure_future(client.ping())
        await asyncio.sleep(0)
        service.connections[0].cut()
        with pytest.raises(ConnectionLost) as caught:
            await pinging
        assert isinstance(caught.value.__cause__, AuthenticationError)


@pytest.mark.usefixtures("home")
async def test_a_silent_connection_is_replaced(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        if run.attach is not None:
            run.ended()

    async with tls_service(tmp_path) as (service, _):
        service.behave = behave
        async with connect(service.host, keepalive=0.05) as client, client.start(["prog"]) as run:
            service.connections[0].fall_silent()
            assert (await run.wait()).returncode == 0
            assert len(service.connections) == 2


async def test_requests_wait_for_a_service_that_restarts(tmp_path: Path) -> None:
    first, second = FakeService(stoppable), FakeService(stoppable)
    async with first.on_socket(tmp_path):
        client = await connect(first.host)
    (tmp_path / "fake.sock").unlink(missing_ok=True)
    pinging = asyncio.ensure_future(client.ping())
    await asyncio.sleep(0)
    async with second.on_socket(tmp_path):
        assert await pinging > 0
        await client.close()


async def test_closing_during_an_outage_ends_reconnecting(tmp_path: Path) -> None:
    async with client_of(tmp_path, stoppable, reconnect=30) as (client, service):
        run = await client.start(["prog"])
        await Gate(service).shut()
        await client.close()
        with pytest.raises(ConnectionLost, match="closed by this client"):
            await run.wait()
        with pytest.raises(ConnectionLost, match="closed by this client"):
            await client.run(["prog"])


async def test_closing_stops_the_runs_that_are_not_kept(tmp_path: Path) -> None:
    async with client_of(tmp_path, lambda run: started(run)) as (client, service):
        await client.start(["prog"])
        await client.start(["prog"], on_disconnect="keep")
        await client.attach("01890a5d-ac96-774b-bcce-b302099a8057")
        await client.close()
        await service.connections[0].closed.wait()
    assert [[type(one) for one in run.messages] for run in service.runs] == [[m.Stop, m.Close], [m.Close], [m.Close]]


async def started(run: FakeRun) -> None:
    run.started()
