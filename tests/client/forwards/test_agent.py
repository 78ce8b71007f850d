"""A forwarded agent gives away no key that is meant for certain hosts; what cannot be forwarded is refused."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
from pathlib import Path

import pytest

from farhand_client.forwards import agent
from farhand_client.forwards.agent import ForwardedAgent, session_bind
from farhand_client.trust.agent_messages import LIST_REQUEST, listed_keys
from farhand_forwards.targets import ForwardRefused
from farhand_protocol.sshformat import Reader, pack_string
from tests.support.openssh import running_agent

TIMEOUT = 20


def make_key(path: Path) -> Path:
    command: list[str | Path] = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", path]
    subprocess.run(command, check=True, timeout=TIMEOUT)
    return path


def ssh_add(agent_socket: Path, *arguments: str | Path) -> None:
    environment = {**os.environ, "SSH_AUTH_SOCK": str(agent_socket)}
    subprocess.run(["ssh-add", "-q", *arguments], env=environment, check=True, timeout=TIMEOUT)


async def comments(connection: socket.socket) -> list[str]:
    """Return the comments of the keys that an agent lists on a connection."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, LIST_REQUEST)
    header = b""
    while len(header) < 4:
        header += await loop.sock_recv(connection, 4 - len(header))
    reply = b""
    while len(reply) < int.from_bytes(header, "big"):
        reply += await loop.sock_recv(connection, 65536)
    return [key.comment for key in listed_keys("agent", reply)[0]]


@pytest.mark.needs("ssh-agent", "ssh-add", "ssh-keygen")
async def test_a_key_for_certain_hosts_is_not_shown_over_there_and_others_are(tmp_path: Path) -> None:
    plain, constrained, host = (make_key(tmp_path / name) for name in ("plain", "constrained", "host"))
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(f"web {host.with_suffix('.pub').read_text()}")
    with running_agent(tmp_path, plain) as path:
        ssh_add(path, "-H", known_hosts, "-h", "web", constrained)
        with socket.socket(socket.AF_UNIX) as local:
            local.setblocking(False)
            await asyncio.get_running_loop().sock_connect(local, str(path))
            assert await comments(local) == ["plain", "constrained"]
        forwarded = ForwardedAgent(str(path))
        for _ in range(2):  # each connection
            with await forwarded.connect() as connection:
                assert await comments(connection) == ["plain"]


def test_a_binding_is_of_a_key_and_a_session_of_its_own() -> None:
    bindings = [Reader(Reader(session_bind()).string()) for _ in range(2)]
    fields = [(binding.byte(), *(binding.string() for _ in range(4)), binding.byte()) for binding in bindings]
    for binding in bindings:
        binding.end()
    assert [(one[0], one[1], one[5]) for one in fields] == [(27, b"session-bind@openssh.com", 1)] * 2
    assert all(first != second for first, second in zip(fields[0][2:5], fields[1][2:5], strict=True))


async def connected(tmp_path: Path, answer: bytes) -> socket.socket:
    """Return a connection to an agent that answers a binding with `answer` and then closes."""
    loop = asyncio.get_running_loop()

    async def be_agent(listening: socket.socket) -> None:
        accepted, _ = await loop.sock_accept(listening)
        with accepted:
            accepted.setblocking(False)
            data = b""
            while len(data) < len(session_bind()):
                data += await loop.sock_recv(accepted, 65536)
            await loop.sock_sendall(accepted, answer)

    path = tmp_path / "agent"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        listening.setblocking(False)
        connection, _ = await asyncio.gather(ForwardedAgent(str(path)).connect(), be_agent(listening))
        return connection


@pytest.mark.parametrize("kind", [5, 6, 28])
async def test_an_agent_that_does_not_know_the_binding_is_forwarded(tmp_path: Path, kind: int) -> None:
    with await connected(tmp_path, pack_string(bytes([kind])) + b"more") as connection:
        assert await asyncio.get_running_loop().sock_recv(connection, 10) == b"more"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "it closed the connection"),
        (pack_string(bytes([6]))[:3], "it closed the connection"),
        (pack_string(b"\x0c"), "wrong type"),
        (pack_string(b""), "wrong type"),
        (b"\xff\xff\xff\xff", "announced 4294967295 bytes"),
    ],
)
async def test_an_agent_that_answers_nonsense_is_not_forwarded(tmp_path: Path, answer: bytes, says: str) -> None:
    with pytest.raises(ForwardRefused, match=says) as refused:
        await connected(tmp_path, answer)
    assert refused.value.cause == "failed"


async def test_an_agent_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ForwardRefused, match=f"cannot reach the ssh-agent at {tmp_path}/none: No such file"):
        await ForwardedAgent(f"{tmp_path}/none").connect()


async def test_an_agent_that_does_not_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "BIND_TIMEOUT", 0.01)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(f"{tmp_path}/agent")
        silent.listen()
        with pytest.raises(ForwardRefused, match=r"did not answer within 0.01 seconds") as refused:
            await ForwardedAgent(f"{tmp_path}/agent").connect()
    assert refused.value.cause == "timeout"


async def test_an_agent_whose_queue_is_full_is_waited_for(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    path = str(tmp_path / "agent")
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(path)
        listening.listen(0)
        listening.setblocking(False)
        waiting = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                other = stack.enter_context(socket.socket(socket.AF_UNIX))
                other.setblocking(False)
                other.connect(path)
                waiting += 1
        connecting = asyncio.ensure_future(ForwardedAgent(path).connect())
        await asyncio.sleep(0)
        for _ in range(waiting):
            (await loop.sock_accept(listening))[0].close()
        accepting = asyncio.ensure_future(loop.sock_accept(listening))
        await asyncio.wait([accepting, connecting], return_when=asyncio.FIRST_COMPLETED, timeout=TIMEOUT)
        if connecting.done():
            connecting.result().close()
        accepted = stack.enter_context((await accepting)[0])
        await loop.sock_sendall(accepted, b"\0\0\0\1\6")
        (await connecting).close()
