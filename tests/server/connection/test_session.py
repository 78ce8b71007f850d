"""A bug of the service is reported on its channel or connection, and others continue; how sessions close."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from farhand_protocol import messages as m
from farhand_protocol.connection import Connection
from farhand_protocol.events import Event
from farhand_protocol.frames import Kind, encode_frame
from farhand_protocol.keepalive import MAX_SILENT_INTERVALS
from farhand_protocol.limits import KiB, Limits
from farhand_protocol.outcome import Exited
from farhand_protocol.states import Side
from farhand_protocol.transport import QUIET_PERIOD, ConnectionTransport
from farhand_server.connection import session as session_module
from farhand_server.connection.channels.run import RunChannel
from farhand_server.connection.session import ServerSession
from farhand_server.logs import Logger, LogSink
from farhand_server.policy import Policy, Rule
from farhand_server.runs.process.process import Process
from farhand_server.throttle import BURST
from tests.server.connection.conftest import Core
from tests.support.client import TIMEOUT, RawClient
from tests.support.pairs import hello
from tests.support.processes import session_is_gone

UNKNOWN = "0192f0c1-2b3d-7c4e-8f50-000000000000"
"""The id of no run."""


def only_session(core: Core) -> ServerSession:
    (session,) = core.sessions
    assert isinstance(session, ServerSession)
    return session


async def test_a_bug_in_one_run_is_an_internal_error_and_others_continue(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Process.start

    async def faulty(argv: tuple[bytes, ...], **options: object) -> Process:
        if argv[0] == b"faulty":
            await asyncio.sleep(0)
            raise RuntimeError("a bug")
        return await start(argv, **options)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(Process, "start", faulty)
    async with RawClient.connect(core.config.socket) as client:
        runs = [(name, client.start(name)) for name in ("true", "faulty", "true", "faulty", "faulty", "true")]
        for name, run in runs:
            if name == "faulty":
                error = await run.error()
                assert error.code == "internal"
                assert "a bug" not in error.message
            else:
                assert (await run.ended()).outcome == Exited(code=0)
        assert (await client.run("true"))[0].outcome == Exited(code=0)
        await client.round_trip()
        assert client.connection.open_channels == 0
    assert [str(error) for error in core.faults] == ["a bug"] * 3


async def test_a_client_behind_a_shared_connection_is_lost_as_one_with_a_connection_of_its_own(core: Core) -> None:
    async with RawClient.connect(core.config.socket) as client:
        waited_for = client.start("cat", stdin=True, grace=60)
        deserted = client.start("sleep", "60", grace=0, kill_after=0.2)
        other = client.start("cat", stdin=True)
        await waited_for.started()
        pid = await deserted.started()
        for lost in (waited_for, deserted):
            lost.close(lost=True)
            assert isinstance(await lost.last(), m.Done)
        await session_is_gone(pid)
        (run,) = (each for each in core.registry if each.plan.id == waited_for.request.id)
        assert run.attachments.held, "the client may return and go on where it was"
        assert run.attachments.connected() == []
        run.stop("requested", 0)
        other.write(b"goes on")
        other.send(m.End(stream="stdin"))
        await other.ended()
        assert other.stdout == b"goes on"
        assert client.connection.open_channels == 0


async def test_a_bug_in_serving_a_message_is_reported_before_the_connection_closes(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("farhand_server.admission.admission.plan_run", faulty)
    async with RawClient.connect(core.config.socket) as client, RawClient.connect(core.config.socket) as other:
        client.start("true")
        error = await client.wait_for_message(m.Error)
        assert "internal" in str(error)
        assert "a bug" not in str(error)
        await client.closed()
        await other.round_trip()


@pytest.fixture
def judged_by_path(core: Core) -> None:
    """A policy that must know where `cat` is found, so that a worker is asked."""
    about = {"name": "cat", "who": {"uids": [os.getuid()]}, "commands": [["/usr/bin/cat"]]}
    core.policy = Policy(rules=(Rule.model_validate(about),))


@pytest.mark.usefixtures("judged_by_path")
async def test_stdin_that_arrives_before_the_judgement_reaches_the_program(core: Core) -> None:
    async with RawClient.connect(core.config.socket) as client:
        run = client.start("cat", stdin=True)
        for _ in range(100):
            run.write(b"early")
        run.send(m.End(stream="stdin"))
        assert (await run.ended()).outcome == Exited(code=0)
        assert run.stdout == b"early" * 100
        assert core.judging == {}
        refused = client.start("rm", stdin=True)
        refused.write(b"early")
        assert (await refused.error()).code == "denied"
        await client.round_trip()
        assert client.connection.open_channels == 0


@pytest.mark.usefixtures("judged_by_path")
async def test_a_connection_lost_before_the_judgement_starts_nothing(core: Core) -> None:
    async with RawClient.connect(core.config.socket) as client:
        client.start("cat", stdin=True)
        async with asyncio.timeout(TIMEOUT):
            while not core.judging:  # noqa: ASYNC110  # it waits for iterations of the loop
                await asyncio.sleep(0)
        client.abort()
        await client.closed()
    async with asyncio.timeout(TIMEOUT):
        while core.sessions:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert (core.judging, len(core.registry)) == ({}, 0)


@pytest.mark.usefixtures("judged_by_path")
async def test_a_session_that_finishes_closes_once_the_last_request_is_refused(core: Core) -> None:
    async with RawClient.connect(core.config.socket) as client:
        run = client.start("cat", stdin=True)
        async with asyncio.timeout(TIMEOUT):
            while not core.judging:  # noqa: ASYNC110  # it waits for iterations of the loop
                await asyncio.sleep(0)
        core.registry.refuse_new()
        only_session(core).finish()
        assert (await run.error()).code == "draining"
        await client.closed()


async def test_a_bug_in_sending_output_is_reported_before_the_connection_closes_and_the_run_ends(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send_some(_: RunChannel) -> bool:
        raise RuntimeError("a bug")

    async with RawClient.connect(core.config.socket) as client:
        monkeypatch.setattr(RunChannel, "send_some", send_some)
        client.start("echo", "hello")
        error = await client.wait_for_message(m.Error)
        assert "internal" in str(error)
        await client.closed()
    async with asyncio.timeout(TIMEOUT):
        await core.registry.idle()


async def test_a_bug_in_reporting_an_end_does_not_keep_the_run_from_ending(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(_: RunChannel, result: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(RunChannel, "ended", ended)
    async with RawClient.connect(core.config.socket) as client:
        client.start("true")
        async with asyncio.timeout(TIMEOUT):
            await core.registry.idle()
            while not core.faults:
                await client.round_trip()
    assert [str(fault) for fault in core.faults] == ["a bug"]


async def test_a_session_that_finishes_sends_everything_first(core: Core) -> None:
    async with RawClient.connect(core.config.socket, limits=Limits(window=64 * KiB)) as client:
        run = client.start("head", "-c", "200000", "/dev/zero", credit=False)
        await run.output(64 * KiB)
        session = only_session(core)
        await core.registry.idle()
        session.finish()
        await client.round_trip()
        run.grant()
        assert (await run.ended()).stdout == run.totals["stdout"] == 200_000
        await client.closed()


async def test_a_session_is_removed_with_its_connection(core: Core) -> None:
    async with RawClient.connect(core.config.socket) as client:
        await client.run("true")
        session = only_session(core)
    async with asyncio.timeout(TIMEOUT):
        await session.gone.wait()
    assert len(core.sessions) == 0
    assert session.channels == {}


async def test_a_client_that_does_not_respond_is_pinged_and_then_disconnected(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "CLIENT_KEEPALIVE_INTERVAL", 0.02)
    client = Connection(Side.CLIENT)
    reader, writer = await asyncio.open_unix_connection(core.config.socket)
    client.send(0, hello().model_copy(update={"user": None}))
    writer.write(b"".join(client.data_to_send()))
    received = b""
    async with asyncio.timeout(TIMEOUT):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                received += data
    writer.close()
    assert b'"accepted"' in received
    assert received.count(b'"ping"') == MAX_SILENT_INTERVALS - 1


async def test_a_client_that_violates_the_protocol_is_disconnected_and_others_go_on(core: Core) -> None:
    async with RawClient.connect(core.config.socket) as other:
        reader, writer = await asyncio.open_unix_connection(core.config.socket)
        writer.write(encode_frame(Kind.MESSAGE, 0, b"{}"))
        async with asyncio.timeout(TIMEOUT):
            assert b'"error"' in await reader.read()
        writer.close()
        await other.round_trip()


class TurnCounter:
    """A handler that counts its turns to send."""

    number = 1000

    def __init__(self) -> None:
        self.scheduled = False
        self.turns = 0

    def begin(self) -> None:
        """Not called here."""

    def send_some(self) -> bool:
        self.turns += 1
        return False

    def received(self, message: m.AnyMessage) -> None:
        """Not called here."""

    def received_data(self, data: bytes) -> None:
        """Not called here."""

    def closed(self) -> None:
        """Not called here."""

    def lost(self) -> None:
        """Not called here."""


async def test_awaited_output_is_sent_in_the_same_loop_iteration_on_a_quiet_connection(core: Core) -> None:
    async with RawClient.connect(core.config.socket) as client:
        await client.round_trip()
        session = only_session(core)
        counter, other = TurnCounter(), TurnCounter()
        await asyncio.sleep(2 * QUIET_PERIOD)  # as long as it takes to count as quiet
        session.schedule(counter)
        assert counter.turns == 0
        await client.round_trip()
        assert (counter.turns, counter.scheduled) == (1, False)
        await asyncio.sleep(2 * QUIET_PERIOD)
        session.schedule(counter, awaited=True)
        assert (counter.turns, counter.scheduled) == (2, False)
        session.schedule(other)
        session.schedule(counter, awaited=True)
        assert (other.turns, counter.turns) == (0, 2), "it waits for its turn, after the other handler"
        await client.round_trip()
        assert (other.turns, counter.turns) == (1, 3)
        session.connection.send(0, m.Ping(id=1))
        session.flush_soon()
        session.schedule(counter, awaited=True)
        assert counter.turns == 3, "it is sent together with what is queued"
        await client.round_trip()
        assert counter.turns == 4


class Full:
    """A channel for which there is no memory."""

    overfull = True


async def test_a_client_that_is_held_does_not_count_as_gone_and_is_read_from_once_there_is_memory(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "CLIENT_KEEPALIVE_INTERVAL", 0.02)
    async with RawClient.connect(core.config.socket) as client:
        session, channel = only_session(core), Full()
        pinged = asyncio.Event()
        pings = 0
        send = session.connection.send

        def counted(number: int, message: m.Message) -> None:
            nonlocal pings
            pings += isinstance(message, m.Ping)
            if pings > 2 * MAX_SILENT_INTERVALS:
                pinged.set()
            send(number, message)

        monkeypatch.setattr(session.connection, "send", counted)
        session.hold(channel)
        answer = asyncio.create_task(client.round_trip())
        async with asyncio.timeout(TIMEOUT):
            await pinged.wait()
        assert not answer.done(), "it was read from"
        channel.overfull = False
        async with asyncio.timeout(TIMEOUT):
            await answer


async def test_a_flood_of_one_user_is_acted_on_between_what_others_send(core: Core) -> None:
    noted: list[str] = []

    def note(session: ServerSession, user: str) -> None:
        """Let the session belong to `user`, and take half a millisecond for each event."""
        session._share_time(core.sessions.time.of(user))  # noqa: SLF001  # both belong to the account that runs the tests
        received = session.received

        def slow(event: Event) -> None:
            noted.append(user)
            end = time.perf_counter() + 0.0005
            while time.perf_counter() < end:
                pass
            received(event)

        session.received = slow  # type: ignore[method-assign]  # as an expensive message would be

    async with RawClient.connect(core.config.socket) as flooding, RawClient.connect(core.config.socket) as other:
        await flooding.round_trip()
        await other.round_trip()
        for number, session in enumerate(core.sessions):
            assert isinstance(session, ServerSession)
            note(session, f"user {number}")
        pong = encode_frame(Kind.MESSAGE, 0, m.encode(m.Pong(id=1)))
        flooding.raw(pong * 200)
        other.raw(pong)
        async with asyncio.timeout(TIMEOUT):
            while len(noted) < 201:  # noqa: ASYNC110  # turns of the loop are what is counted
                await asyncio.sleep(0)
    (only,) = (user for user in set(noted) if noted.count(user) == 1)
    assert noted.index(only) < 100, "what arrived together was acted on together"


async def test_strangers_with_addresses_of_one_network_have_one_share_of_the_loops_time(
    core: Core, tmp_path: Path
) -> None:
    shares = []
    with (tmp_path / "log").open("ab") as log:
        for address in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"):
            session = ServerSession(core, Logger(LogSink(log.fileno()), {}), address=IPv6Address(address))
            carrier = ConnectionTransport(session.connection, session)
            session.connected(carrier)
            shares.append(carrier.loop_time)
            session.lost(None)
    assert shares[0] is shares[1]
    assert shares[0] is not shares[2]


async def test_the_log_lines_that_a_user_causes_are_of_that_users_share(core: Core) -> None:
    async with RawClient.connect(core.config.socket) as client:
        for _ in range(2 * BURST):  # meanwhile a few more lines are allowed
            assert (await client.attach(UNKNOWN).error()).code == "unknown_run"
        user = only_session(core).admission.caller.principal.user
        assert core.sessions.lines.of(f"user {user}").admit() is None
