"""Tunnels are runs: judged, recorded, stopped and upgraded as they are, with no more than the rights of the user."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from farhand_client import Client, ForwardError, RequestRefused, TunnelLost, connect
from farhand_protocol.errors import ErrorCode
from tests.support.client import TIMEOUT
from tests.support.policy_service import ME, policy_service
from tests.support.processes import end_of
from tests.support.service import Service, running_service
from tests.support.upgrades import kill_edge, upgraded

POLICY = """
[[rules]]
name = "boss"
who = {{ users = ["{me}"], keys = ["{boss}", "{restricted}", "{database}", "{agent}"] }}
commands = [["*", "..."]]
shell = true

[[rules]]
name = "deploy"
who = {{ users = ["{me}"], keys = ["{deploy}"] }}
forward = {{ connect = ["127.0.0.0/8:PORT", "unix:DIR/ok/*"], listen = ["localhost:*"] }}
audit = "hash"

[[rules]]
name = "commands"
who = {{ users = ["{me}"], keys = ["{limited}"] }}
commands = [["/bin/true"]]
"""

METADATA = [
    *("169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "::ffff:169.254.169.254"),
    *("fe80::1", "fd00:ec2::254", "100.100.100.200", "0.0.0.0", "0", "::"),
]


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with running_service(tmp_path) as running:
        yield running


@pytest.fixture
async def client(service: Service) -> AsyncIterator[Client]:
    async with connect(service.host) as connected:
        yield connected


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """The port of a server that sends back what it receives."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


class Echo:
    """A connection through a tunnel to a server that sends back what it receives."""

    def __init__(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self.reader, self.writer = streams

    async def answers(self, data: bytes) -> None:
        self.writer.write(data)
        async with asyncio.timeout(TIMEOUT):
            assert await self.reader.readexactly(len(data)) == data

    async def end(self) -> None:
        self.writer.write_eof()
        async with asyncio.timeout(TIMEOUT):
            assert await self.reader.read() == b""
        self.writer.close()


def audited(directory: Path, event: str) -> list[dict[str, Any]]:
    entries = map(json.loads, (directory / "audit.jsonl").read_text().splitlines())
    return [entry for entry in entries if entry["event"] == event]


async def end_entry(service: Service) -> dict[str, Any]:
    """Wait until the end of the tunnel is on record, and return the entry. A growing file has no event."""
    async with asyncio.timeout(TIMEOUT):
        while not (ended := audited(service.directory / "state/farhand", "end")):  # noqa: ASYNC110  # as said
            await asyncio.sleep(0.005)
    return ended[0]


async def worker_of(client: Client) -> tuple[str, int]:
    """Return the id and the pid of the tunnel that is under way."""
    [run] = [run for run in await client.runs() if run.outcome is None]
    assert run.pid is not None
    return run.id, run.pid


async def test_each_connection_is_on_record(service: Service, client: Client, echo: int) -> None:
    state = service.directory / "state/farhand"
    one = Echo(await client.open_connection("localhost", echo))
    await one.answers(b"hello")
    await one.end()
    with pytest.raises(ForwardError, match="nothing listens there"):
        await client.open_connection("127.0.0.1", 1)
    async with client.forward_remote("127.0.0.1", echo) as forward:
        two = Echo(await asyncio.open_connection("127.0.0.1", forward.port))
        await two.answers(b"back")
        await two.end()
    run_id, pid = await worker_of(client)
    await client.close()
    await end_of(pid)
    ended = await end_entry(service)
    assert ended["argv"][0] == "forward"
    totals = ended["forward"]
    assert (totals["flows"], totals["refused"], totals["listeners"], totals["dropped"]) == (2, 1, 1, 0)
    assert (totals["from_client"], totals["to_client"]) == (9, 9)
    flows = {(entry["forward"]["kind"], entry["outcome"]): entry for entry in audited(state, "flow")}
    connected = flows["connect", "ended"]
    assert connected["run"] == run_id
    assert connected["forward"]["target"] == f"localhost:{echo}"
    assert connected["forward"]["address"] == f"127.0.0.1:{echo}"
    assert (connected["forward"]["from_client"], connected["forward"]["to_client"]) == (5, 5)
    assert flows["connect", "refused"]["detail"] == "cannot connect to 127.0.0.1:1: nothing listens there"
    assert flows["listen", "listening"]["forward"]["target"] == "localhost:0"
    accepted = flows["accept", "ended"]["forward"]
    assert (accepted["target"], accepted["from_client"]) == (flows["listen", "listening"]["forward"]["address"], 4)
    assert accepted["origin"].startswith("127.0.0.1:")


async def test_connections_and_listeners_survive_an_upgrade_and_are_still_recorded(
    service: Service, client: Client, echo: int
) -> None:
    one = Echo(await client.open_connection("127.0.0.1", echo))
    await one.answers(b"before")
    async with client.forward_remote("127.0.0.1", echo) as forward:
        two = Echo(await asyncio.open_connection("127.0.0.1", forward.port))
        await two.answers(b"before")
        await upgraded(service)
        await one.answers(b"after" * 100_000)
        await two.answers(b"after")
        three = Echo(await asyncio.open_connection("127.0.0.1", forward.port))
        await three.answers(b"new")
        for each in (one, two, three):
            await each.end()
    await client.close()
    totals = (await end_entry(service))["forward"]
    assert (totals["flows"], totals["from_client"]) == (3, 6 + 500_000 + 11 + 3)
    assert len(audited(service.directory / "state/farhand", "flow")) == 4


@pytest.mark.needs("ssh-keygen")
async def test_connections_and_listeners_survive_the_death_of_the_edge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, echo: int
) -> None:
    policy = '[[rules]]\nname = "all"\nwho = {{ users = ["{me}"], keys = ["{boss}"] }}\nshell = true\n'
    async with policy_service(tmp_path, monkeypatch, policy, boss="") as guard:
        assert guard.service.address is not None
        host, port = guard.service.address
        files = {"identities": [tmp_path / "boss"], "known_hosts": tmp_path / "known_hosts", "accept_new": True}
        async with (
            connect(host, user=ME, port=port, **files) as client,  # type: ignore[arg-type]  # they are named
            client.forward_remote("127.0.0.1", echo) as forward,
        ):
            one = Echo(await client.open_connection("127.0.0.1", echo))
            await one.answers(b"before")
            await kill_edge(guard.service)
            two = Echo(await asyncio.open_connection("127.0.0.1", forward.port))
            await one.answers(b"after" * 100_000)
            await two.answers(b"new")
            await one.end()
            await two.end()


async def test_a_worker_that_is_killed_ends_its_connections_with_a_sentence_and_leaves_nothing(
    service: Service, client: Client, echo: int
) -> None:
    one = Echo(await client.open_connection("127.0.0.1", echo))
    await one.answers(b"before")
    _, pid = await worker_of(client)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(TunnelLost, match=r".{10}"):
        await one.reader.read()
    await end_of(pid)
    again = Echo(await client.open_connection("127.0.0.1", echo))
    await again.answers(b"after")
    await again.end()


async def test_stopping_the_run_closes_its_listeners(service: Service, client: Client, tmp_path: Path) -> None:
    path = tmp_path / "listener"
    async with client.forward_remote("127.0.0.1", 1, listen_path=str(path)):
        run_id, pid = await worker_of(client)
        assert path.is_socket()
        async with await client.attach(run_id) as run:
            await run.stop()
        await end_of(pid)
        assert not path.exists()


@pytest.mark.needs("ssh-keygen")
async def test_policy_and_key_say_who_may_reach_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, echo: int
) -> None:
    for name in ("ok", "secret"):
        (tmp_path / name).mkdir()
    servers = [
        await asyncio.start_unix_server(lambda _, writer: writer.close(), tmp_path / name / "s")
        for name in ("ok", "secret")
    ]
    (tmp_path / "ok" / "out").symlink_to(tmp_path / "secret" / "s")
    policy = POLICY.replace("DIR", str(tmp_path)).replace("PORT", str(echo))
    keys = {
        "boss": "",
        "restricted": "restrict",
        "database": f'restrict,port-forwarding,permitopen="localhost:{echo}",permitlisten="localhost:1"',
        "agent": "restrict,agent-forwarding",
        "deploy": "",
        "limited": "",
    }
    async with policy_service(tmp_path, monkeypatch, policy, **keys) as guard:

        async def reach(key: str, host: str, port: int) -> None:
            async with guard.client(key) as client:
                one = Echo(await client.open_connection(host, port))
                await one.answers(b"hello")
                await one.end()

        async def denied(client: Client, host: str, port: int) -> str:
            with pytest.raises(ForwardError) as refused:
                await client.open_connection(host, port)
            assert refused.value.cause == "denied"
            return str(refused.value)

        for key in ("boss", "deploy"):
            await reach(key, "127.0.0.1", echo)
        await reach("database", "localhost", echo)
        async with guard.client("boss") as client:
            reader, writer = await client.open_unix_connection(str(guard.service.socket))
            assert b"a tunnel does not lead to the service that it belongs to" in await reader.read(1 << 16)
            writer.close()
            for host in METADATA:
                assert "no rule of the policy names" in await denied(client, host, 80)
            with pytest.raises(ForwardError, match="does not allow a listener"):
                await client.forward_remote("127.0.0.1", echo, listen_host="*")
        async with guard.client("deploy") as client:
            await denied(client, "127.0.0.1", echo - 1)
            (await client.open_unix_connection(str(tmp_path / "ok/s")))[1].close()
            for path in ("ok/out", "secret/s", "ok/../secret/s"):
                with pytest.raises(ForwardError, match="does not allow a connection to"):
                    await client.open_unix_connection(str(tmp_path / path))
        async with guard.client("database") as client:
            assert "permitopen" in await denied(client, "127.0.0.1", echo)
            with pytest.raises(ForwardError, match="permitlisten"):
                await client.forward_remote("127.0.0.1", echo)
        for key, sentence in (("restricted", "this key does not allow"), ("limited", "does not let .* forward")):
            async with guard.client(key) as client:
                with pytest.raises(RequestRefused, match=sentence) as refused:
                    await client.open_connection("127.0.0.1", echo)
                assert refused.value.code is ErrorCode.DENIED
        async with guard.client("agent") as client:
            await denied(client, "127.0.0.1", echo)
        hidden = [entry for entry in guard.audited("flow") if entry["key"] == guard.keys["deploy"]]
        assert hidden
        assert all("target" not in entry["forward"] and "target_sha256" in entry["forward"] for entry in hidden)
    for server in servers:
        server.close()
