"""Transfers are runs: judged, recorded, stopped and upgraded as they are, with no more than the rights of the user."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from farhand_client import Client, RequestRefused, TransferInterrupted, connect
from farhand_files.events import Event, Moved
from farhand_protocol.errors import ErrorCode
from tests.support.client import TIMEOUT
from tests.support.policy_service import policy_service
from tests.support.processes import end_of
from tests.support.service import Service, running_service
from tests.support.upgrades import upgraded

SIZE = 6 << 20
RATE = 1 << 20
"""Bytes a second: so slow that a transfer is under way until something else happens to it."""

POLICY = """
[[rules]]
name = "boss"
who = {{ users = ["{me}"], keys = ["{boss}", "{restricted}"] }}
commands = [["*", "..."]]
shell = true

[[rules]]
name = "releases"
who = {{ users = ["{me}"], keys = ["{deploy}", "{forced}"] }}
files = {{ read = ["DIR/logs"], write = ["DIR/releases"] }}

[[rules]]
name = "backup"
who = {{ users = ["{me}"], keys = ["{backup}"] }}
files = {{ read = ["DIR/logs"], restricted_keys = true }}
audit = "hash"
"""


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with running_service(tmp_path) as running:
        yield running


@pytest.fixture
async def client(service: Service) -> AsyncIterator[Client]:
    async with connect(service.host) as connected:
        yield connected


@pytest.fixture
def big(tmp_path: Path) -> Path:
    source = tmp_path / "big"
    source.write_bytes(os.urandom(SIZE))
    return source


def audited(service: Service, event: str) -> list[dict[str, Any]]:
    log = service.directory / "state/farhand/audit.jsonl"
    return [entry for line in log.read_text().splitlines() if (entry := json.loads(line))["event"] == event]


class MovingTransfer:
    """A transfer whose content has begun to arrive, and the pid of its worker."""

    def __init__(self, client: Client, source: Path, target: Path) -> None:
        self._client = client
        moving = asyncio.Event()

        def progress(event: Event) -> None:
            if isinstance(event, Moved):
                moving.set()

        self.moving = moving
        self.transfer = asyncio.ensure_future(client.put(source, str(target), progress=progress, rate=RATE))

    async def begun(self) -> tuple[str, int]:
        """Wait until content moves; return the id of the run, and the pid of the worker."""
        async with asyncio.timeout(TIMEOUT):
            await self.moving.wait()
            [run] = [run for run in await self._client.runs() if run.outcome is None]
        assert run.pid is not None
        return run.id, run.pid


async def test_a_transfer_is_on_record_as_what_it_is(service: Service, client: Client, tmp_path: Path) -> None:
    (tmp_path / "notes").write_bytes(b"hello")
    target = tmp_path / "target"
    await client.put(tmp_path / "notes", str(target))
    assert target.read_bytes() == b"hello"
    [run] = await client.runs(ended=True)
    assert run.command == f"put {target}"
    [started], [ended] = audited(service, "start"), audited(service, "end")
    assert started["argv"] == ended["argv"] == ["put", str(target)]
    assert (ended["user"], ended["how"], ended["outcome"]) == (started["user"], "peer", "exited")
    digest = blake3(b"hello").hexdigest()
    assert ended["transfer"] == {"files": 1, "bytes": 5, "sent": 5, "digest": digest}
    with pytest.raises(Exception, match="missing"):
        await client.get(str(tmp_path / "missing*"), tmp_path / "x")
    assert audited(service, "end")[1]["transfer"] == {"files": 0, "bytes": 0, "failed": 1}


async def test_a_transfer_that_is_stopped_leaves_the_old_file(
    service: Service, client: Client, tmp_path: Path, big: Path
) -> None:
    target = tmp_path / "there" / "target"
    target.parent.mkdir()
    target.write_bytes(b"old")
    moving = MovingTransfer(client, big, target)
    run_id, pid = await moving.begun()
    async with await client.attach(run_id) as run:
        await run.stop()
    with pytest.raises(TransferInterrupted):
        await moving.transfer
    await end_of(pid)
    assert target.read_bytes() == b"old"
    assert all(each.name == "target" or each.name.startswith(".farhand-") for each in target.parent.iterdir())
    [ended] = audited(service, "end")
    assert (ended["outcome"], ended["transfer"]) == ("killed", {"files": 0, "bytes": 0})


async def test_a_worker_that_is_killed_is_started_again_and_the_transfer_goes_on(
    service: Service, client: Client, tmp_path: Path, big: Path
) -> None:
    target = tmp_path / "target"
    moving = MovingTransfer(client, big, target)
    _, pid = await moving.begun()
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(TIMEOUT):
        await moving.transfer
    assert target.read_bytes() == big.read_bytes()
    first, second = audited(service, "end")
    assert (first["outcome"], first["transfer"]["files"]) == ("signaled", 0)
    assert (second["outcome"], second["transfer"]["files"], second["transfer"]["bytes"]) == ("exited", 1, SIZE)


async def test_an_upgrade_in_the_middle_of_a_transfer_is_not_noticed(
    service: Service, client: Client, tmp_path: Path, big: Path
) -> None:
    target = tmp_path / "target"
    moving = MovingTransfer(client, big, target)
    await moving.begun()
    await upgraded(service)
    async with asyncio.timeout(TIMEOUT):
        await moving.transfer
    assert target.read_bytes() == big.read_bytes()
    [ended] = audited(service, "end")
    assert (ended["outcome"], ended["transfer"]["files"], ended["transfer"]["bytes"]) == ("exited", 1, SIZE)


@pytest.mark.needs("ssh-keygen")
async def test_the_policy_says_who_may_transfer_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("logs", "releases", "secret"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_bytes(name.encode())
    (tmp_path / "logs" / "out").symlink_to(tmp_path / "secret")
    policy = POLICY.replace("DIR", str(tmp_path))
    keys = {"boss": "", "deploy": "", "forced": 'command="true"', "backup": 'command="true"', "restricted": "restrict"}
    async with policy_service(tmp_path, monkeypatch, policy, **keys) as guard:

        async def get(key: str, path: str) -> bytes:
            async with guard.client(key) as client:
                await client.get(str(tmp_path / path), tmp_path / "copy")
                copied = (tmp_path / "copy").read_bytes()
                (tmp_path / "copy").unlink()
                return copied

        async def refused(key: str, path: str, sentence: str) -> None:
            with pytest.raises(RequestRefused, match=sentence) as error:
                await get(key, path)
            assert error.value.code is ErrorCode.DENIED

        assert await get("boss", "secret/x") == b"secret"
        assert await get("deploy", "logs/x") == b"logs"
        assert await get("backup", "logs/x") == b"logs"
        await refused("deploy", "secret/x", "the policy does not let .* read '.*/secret/x'")
        await refused("deploy", "logs/../secret/x", "the policy does not let .* read")
        await refused("deploy", "releases/x", "the policy does not let .* read")
        await refused("forced", "logs/x", r"this key does not allow transfers \(command=")
        await refused("restricted", "logs/x", r"this key does not allow transfers \(restrict")
        with pytest.raises(Exception, match="not in a directory that may be used"):
            await get("deploy", "logs/out/x")
        async with guard.client("deploy") as client:
            await client.put(tmp_path / "secret/x", str(tmp_path / "releases/new"))
            with pytest.raises(RequestRefused, match=r"write '.*/logs/new'"):
                await client.put(tmp_path / "secret/x", str(tmp_path / "logs/new"))
        assert (tmp_path / "releases/new").read_bytes() == b"secret"
        assert not (tmp_path / "logs/new").exists()
        denials = guard.audited("denial")
        assert len(denials) == 6
        assert denials[0]["argv"] == ["get", str(tmp_path / "secret/x")]
        [hidden] = [entry for entry in guard.audited("end") if "argv_sha256" in entry]
        assert (hidden["key"], hidden["transfer"]["files"]) == (guard.keys["backup"], 1)
