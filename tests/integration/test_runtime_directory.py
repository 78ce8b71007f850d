"""A service whose runtime directory is removed goes on: its runs, its clients, and new ones from everywhere."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from farhand_client import Client, RequestRefused, connect
from farhand_client.pending import Pending
from farhand_protocol.outcome import Exited
from tests.support.client import TIMEOUT, RawClient
from tests.support.openssh import make_key
from tests.support.service import Service, running_service
from tests.support.upgrades import upgraded

RESTORED = "socket was removed or replaced; listening again"


@pytest.fixture
async def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    """A service with an edge, which accepts DIRECTORY/key."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "client"))
    make_key(tmp_path / "key")
    authorized = tmp_path / "config/farhand/authorized_keys"
    authorized.parent.mkdir(parents=True)
    authorized.write_bytes((tmp_path / "key.pub").read_bytes())
    async with running_service(tmp_path, listen=True) as running:
        yield running


@pytest.fixture
def over_tls(service: Service) -> Callable[[], Pending[Client]]:
    """Return a function that connects through the edge."""
    assert service.address is not None
    host, port = service.address
    return lambda: connect(
        host,
        port=port,
        identities=[service.directory / "key"],
        known_hosts=service.directory / "known_hosts",
        accept_new=True,
        reconnect=None,
    )


@pytest.mark.timeout(120)
async def test_a_service_outlives_its_runtime_directory(
    service: Service, over_tls: Callable[[], Pending[Client]]
) -> None:
    run_directory = service.directory / "run"
    async with over_tls() as before:
        run = await before.start(["sh", "-c", "read -r x; exit $x"], stdin=asyncio.subprocess.PIPE)
        shutil.rmtree(run_directory)
        await service.logged(RESTORED, 2)
        assert run_directory.stat().st_mode & 0o777 == 0o700
        assert service.socket.stat().st_mode & 0o777 == 0o666
        async with over_tls() as after, RawClient.connect(service.socket) as local:
            assert (await after.run(["echo", "tls"])).stdout == b"tls\n"
            assert (await local.run("echo", "local"))[1].stdout == b"local\n"
        service.socket.with_name("edge.sock").unlink()
        service.process.send_signal(signal.SIGHUP)
        await service.logged(RESTORED, 3)
        shutil.rmtree(run_directory)
        await service.logged(RESTORED, 5)
        assert run.stdin is not None
        run.stdin.write(b"7\n")
        assert (await run.wait()).outcome == Exited(code=7)
    await upgraded(service)
    shutil.rmtree(run_directory)
    await service.logged(RESTORED, 7)
    async with over_tls() as last:
        assert (await last.run(["echo", "upgraded"])).stdout == b"upgraded\n"
        await last.start(["sleep", "60"])
        service.process.send_signal(signal.SIGTERM)
        await service.logged("msg=draining", 1)
        with pytest.raises(RequestRefused, match="the service is shutting down; try again in a moment"):
            await over_tls()
        service.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(service.process.wait(), TIMEOUT) == 0
    assert list(run_directory.rglob("*.sock")) == []
