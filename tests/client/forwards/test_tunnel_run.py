"""A tunnel's run ends with a reason that says whether another one may do better."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from farhand_client import ConnectionLost, FarhandError, RequestRefused, SpawnError, TunnelLost
from farhand_client.forwards.tunnel_run import MIN_TUNNEL_GRACE, tunnel_request
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Exited, Killed, Lost, Outcome, SpawnFailed
from tests.support.fake_forward_worker import FakeWorkers, forwarding_client, target
from tests.support.fake_service import Behaviour, FakeRun, refusing


def ending(outcome: Outcome, *, says: bytes = b"", output: bytes = b"") -> Behaviour:
    """Return the behaviour of a worker that ends at once."""

    async def behave(run: FakeRun) -> None:
        if not isinstance(outcome, SpawnFailed):
            run.started()
            await run.write("stderr", says)
            await run.write("stdout", output)
        run.ended(outcome)

    return behave


NO_PYTHON = SpawnFailed(errno=2, error="ENOENT", what="program", message="there is no python3")


@pytest.mark.parametrize(
    ("behave", "kind", "sentence"),
    [
        (ending(Exited(code=1), says=b"out of memory\n"), TunnelLost, "exited with code 1; it wrote: out of memory"),
        (ending(Killed(reason="requested", signal=15)), TunnelLost, "the forward worker"),
        (ending(Lost()), TunnelLost, "run"),
        (ending(NO_PYTHON), SpawnError, "there is no python3"),
        (ending(Exited(code=0), output=b"\xff" * 100), TunnelLost, "has sent what no tunnel allows"),
        (refusing(ErrorCode.DENIED, "not for you"), RequestRefused, "not for you"),
        (refusing(ErrorCode.DRAINING, "it restarts"), TunnelLost, "it restarts"),
    ],
)
async def test_the_reason_says_how_the_worker_has_ended(
    tmp_path: Path, behave: Behaviour, kind: type[FarhandError], sentence: str
) -> None:
    async with forwarding_client(tmp_path, behave) as client:
        with pytest.raises(kind, match=sentence):
            await client.open_connection("web", 80)


async def test_a_connection_that_is_lost_for_good_ends_its_tunnel(tmp_path: Path) -> None:
    workers = FakeWorkers()
    async with forwarding_client(tmp_path, workers.behave) as client, target() as port:
        reader, writer = await client.open_connection("127.0.0.1", port)
        workers.runs[0].client.cut()
        with pytest.raises(TunnelLost):
            await reader.read()
        writer.close()
        with pytest.raises(ConnectionLost):
            await client.open_connection("127.0.0.1", port)


async def test_a_worker_that_does_not_end_with_its_client_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farhand_client.forwards.tunnel_run.TUNNEL_END_TIMEOUT", 0.01)
    stopped = asyncio.Event()

    async def behave(run: FakeRun) -> None:
        run.started()
        await run.until(m.Stop)
        stopped.set()
        run.ended(Killed(reason="requested", signal=15))

    async with forwarding_client(tmp_path, behave) as client:
        opening = asyncio.ensure_future(client.open_connection("web", 80))
        forward = await client.forward_local("web", 80)
        await client.close()
        await stopped.wait()
        assert not forward.listens
        with pytest.raises(FarhandError):
            await opening


def test_a_worker_is_kept_for_as_long_as_its_client_tries_to_reconnect() -> None:
    assert tunnel_request("-D 1080", 0.0).grace == MIN_TUNNEL_GRACE
    request = tunnel_request("-D 1080", 3600.0)
    assert (request.grace, request.stdin) == (3600.0, True)
    assert request.forward == m.ForwardRequest(purpose="-D 1080")
