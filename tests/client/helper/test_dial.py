"""The helper connects with the key that a command has used, and only if nobody has to be asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from farhand_client.errors import AuthenticationError, HostKeyUnknown
from farhand_client.helper.dial import NotWithoutAsking, dial
from farhand_client.mux.request import ConnectionRequest
from tests.support import openssh
from tests.support.fake_service import FakeService

from .conftest import Reachable


async def test_a_connection_is_made_with_the_key_of_the_command(reachable: Reachable) -> None:
    dialled = await dial(reachable.offer)
    try:
        assert b'"login":false' in dialled.introduction
        assert b"ticket" not in dialled.introduction.partition(b'"accepted"')[2]
        assert dialled.proof.files
        assert dialled.proof.agent is None
    finally:
        dialled.login.session.abort()


async def test_an_unknown_service_is_not_connected_to(reachable: Reachable, tmp_path: Path) -> None:
    request = reachable.offer
    request.known_hosts = bytes(tmp_path / "none")
    with pytest.raises(HostKeyUnknown):
        await dial(request)


async def test_a_key_that_the_service_does_not_accept_is_of_no_use(reachable: Reachable, tmp_path: Path) -> None:
    openssh.make_key(tmp_path / "other")
    with pytest.raises(AuthenticationError):
        await dial(reachable.request(identity=b"FILE:" + bytes(tmp_path / "other")))


@pytest.mark.parametrize("identity", [b"", b"FILE:/nowhere", b"AGENT:xyz", b"AGENT:00"])
async def test_without_a_key_that_can_be_used_unasked_nothing_is_tried(reachable: Reachable, identity: bytes) -> None:
    with pytest.raises(NotWithoutAsking):
        await dial(reachable.request(identity=identity))


async def test_an_older_service_is_not_shared(tmp_path: Path) -> None:
    async with FakeService().on_socket(tmp_path) as service:
        with pytest.raises(NotWithoutAsking, match="cannot be shared"):
            await dial(ConnectionRequest(socket=service.host.removeprefix("unix:").encode()))
        await service.connections[0].closed.wait()
