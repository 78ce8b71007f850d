"""A name whose address changes leads a tunnel nowhere but to an address that the policy allows."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from farhand_client import Client, ForwardError, connect
from tests.support.client import TIMEOUT
from tests.support.name_server import PORT, NameServer, network_prefix, received_sockets
from tests.support.policy_service import ME
from tests.support.service import running_service

pytestmark = pytest.mark.needs("root", "unshare", "ip", "mount")

OPEN, INSIDE, METADATA = "10.1.2.3", "10.9.9.9", "169.254.169.254"

POLICY = f"""
[[rules]]
name = "tunnels"
who = {{ users = ["{ME}"] }}
forward = {{ connect = ["10.1.0.0/16:*"] }}
"""


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "sockets"))
        made.listen()
        yield made


async def test_the_address_that_was_judged_is_the_one_that_is_connected_to(
    tmp_path: Path, listener: socket.socket
) -> None:
    # A second lookup for the same connection would have found the address inside.
    name_server = NameServer([OPEN, INSIDE, METADATA, OPEN])
    reached: list[str] = []

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(writer.get_extra_info("sockname")[0])
        writer.write(reached[-1].encode())
        writer.close()

    async def said_by(client: Client, name: str) -> str:
        reader, writer = await client.open_connection(name, PORT)
        async with asyncio.timeout(TIMEOUT):
            said = await reader.read()
        writer.close()
        return said.decode()

    (tmp_path / "policy.toml").write_text(POLICY)
    config = f'[policy]\nfile = "{tmp_path}/policy.toml"\n'
    prefix = network_prefix(tmp_path / "sockets", [OPEN, INSIDE, METADATA])
    async with contextlib.AsyncExitStack() as stack:
        service = await stack.enter_async_context(running_service(tmp_path, config=config, prefix=prefix))
        names, *sockets = received_sockets(listener)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: name_server, sock=names)
        stack.callback(transport.close)
        for each in sockets:
            await stack.enter_async_context(await asyncio.start_server(answer, sock=each))
        client = await stack.enter_async_context(connect(service.host))
        assert await said_by(client, "changing.example") == OPEN
        for address in (INSIDE, METADATA):
            with pytest.raises(ForwardError, match=address) as refused:
                await said_by(client, "changing.example")
            assert refused.value.cause == "denied"
        assert await said_by(client, "changing.example") == OPEN
    assert name_server.asked == [OPEN, INSIDE, METADATA, OPEN]
    assert reached == [OPEN, OPEN]
