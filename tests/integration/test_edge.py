"""No single process of the edge is everyone's, and a login that it cuts off is only a pause."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from farhand_client import Client, connect
from farhand_client.trust.keyfile import KeyFile
from tests.support.client import TIMEOUT
from tests.support.command import running
from tests.support.faulty_proxy import network_service
from tests.support.processes import end_of
from tests.support.service import Service
from tests.support.upgrades import edge_of, workers_of


def connected(service: Service, directory: Path) -> AbstractAsyncContextManager[Client]:
    assert service.address is not None
    host = ":".join(map(str, service.address))
    return connect(
        host, identities=[directory / "key"], known_hosts=directory / "known", accept_new=True, timeout=TIMEOUT
    )


async def test_while_a_worker_is_stuck_new_clients_are_served_and_one_that_dies_is_replaced(tmp_path: Path) -> None:
    async with network_service(tmp_path) as service:
        edge, (stuck, dying) = edge_of(service), workers_of(service)
        for worker in (stuck, dying):  # the log tells them apart
            await service.logged(f"connected to the core.* worker={worker} ")
        os.kill(stuck, signal.SIGSTOP)
        for _ in range(4):
            async with connected(service, tmp_path) as client:
                assert (await client.run(["true"])).returncode == 0
        os.kill(dying, signal.SIGKILL)
        await end_of(dying)
        # Nobody accepts now but the worker that takes its place.
        async with connected(service, tmp_path) as client:
            assert (await client.run(["true"])).returncode == 0
        assert edge_of(service) == edge
        # A worker does not outlive its supervisor, not even a stopped one once it goes on.
        os.kill(edge, signal.SIGKILL)
        os.kill(stuck, signal.SIGCONT)
        await end_of(stuck)


async def test_a_login_that_is_cut_off_by_the_death_of_the_edge_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign = KeyFile.sign
    killed: list[int] = []

    async def sign_and_kill(self: KeyFile, transcript: bytes) -> bytes:
        if not killed:
            killed.append(edge_of(service))
            os.kill(killed[0], signal.SIGKILL)
            await end_of(killed[0])
        return await sign(self, transcript)

    async with network_service(tmp_path) as service:
        monkeypatch.setattr(KeyFile, "sign", sign_and_kill)
        async with asyncio.timeout(TIMEOUT), connected(service, tmp_path) as client:
            assert (await client.run(["true"])).returncode == 0
        assert killed != [edge_of(service)]


async def test_a_command_survives_one_edge_after_the_other(tmp_path: Path) -> None:
    """The first loss ends the path without an event loop, and the later ones are those of what takes its place."""
    turns = (1, 2, 3, 4)
    for turn in turns:  # each its own: a script that reads one twice may do so before this has closed it
        os.mkfifo(tmp_path / f"go{turn}")
    async with network_service(tmp_path) as service:
        async with connected(service, tmp_path):
            pass  # records the host key
        assert service.address is not None
        host = ":".join(map(str, service.address))
        known = tmp_path / "config" / "farhand" / "known_hosts"
        known.write_text((tmp_path / "known").read_text())
        script = f"for turn in 1 2 3 4; do echo $turn; read _ <{tmp_path}/go$turn; done; exit 7"
        options = ("--reconnect", "60", "-I", str(tmp_path / "key"))
        async with (
            asyncio.timeout(TIMEOUT),
            running("run", *options, host, "--", "sh", "-c", script, env=service.environment) as command,
        ):
            assert command.stdout is not None
            for turn in turns:
                assert await command.stdout.readline() == b"%d\n" % turn
                edge = edge_of(service)
                os.kill(edge, signal.SIGKILL)
                await end_of(edge)
                await asyncio.to_thread((tmp_path / f"go{turn}").write_text, "go\n")
            assert await command.wait() == 7
