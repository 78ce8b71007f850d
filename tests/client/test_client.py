"""A `Client` sends every request that a service accepts, and closes in an orderly way."""

from __future__ import annotations

from pathlib import Path

import pytest

from farhand_client import PIPE, ConnectionLost, RunOptions, TerminalRequest, WindowSize
from farhand_protocol import messages as m
from farhand_protocol.outcome import Exited
from tests.support.fake_listing import info, listing
from tests.support.fake_runs import ID, STOPPED, echo, so_far, stoppable
from tests.support.fake_service import client_of

TERMINAL = TerminalRequest(name="xterm", size=WindowSize(columns=80, rows=24))


async def test_a_client_knows_the_service_and_its_connection(tmp_path: Path) -> None:
    async with client_of(tmp_path, reconnect=30) as (client, service):
        assert (client.name, client.user, client.host) == (service.host, "ann", "fake")
        assert (client.software, client.version, client.features) == ("fake/1", 1, ())
        assert (client.connected, client.going_away, client.reconnect) == (True, False, 30)
        client.reconnect = 7
        assert client.reconnect == 7
        assert await client.ping() > 0


async def test_a_closed_client_is_not_connected(tmp_path: Path) -> None:
    async with client_of(tmp_path) as (client, _):
        await client.close()
        await client.close()
        assert (client.connected, client.going_away) == (False, False)
        with pytest.raises(ConnectionLost, match="closed by this client"):
            await client.ping()


async def test_start_with_a_pipe_has_a_stdin(tmp_path: Path) -> None:
    async with client_of(tmp_path, echo) as (client, service):
        async with client.start(["cat"], stdin=PIPE) as run:
            run.stdin.write(b"x")
            run.stdin.close()
            assert await run.stdout.read() == b"x"
        async with client.start(["cat"], RunOptions.of(cwd="/srv"), timeout=9) as without:
            assert without.stdin is None
    assert [run.request.stdin for run in service.runs] == [True, False]
    assert (service.runs[1].request.cwd, service.runs[1].request.timeout) == (b"/srv", 9)


async def test_start_accepts_no_other_stdin(tmp_path: Path) -> None:
    async with client_of(tmp_path) as (client, _):
        with pytest.raises(ValueError, match="start accepts stdin=PIPE"):
            client.start(["cat"], stdin=7)


@pytest.mark.parametrize("terminal", [TERMINAL, None])
async def test_shell_requests_a_login_shell(tmp_path: Path, terminal: TerminalRequest | None) -> None:
    async with client_of(tmp_path, stoppable) as (client, service):
        async with client.shell(terminal, RunOptions.of(cwd="/srv"), env={"LANG": "C"}) as run:
            assert run.stdin is not None
        request = service.runs[0].request
    assert (request.login, request.terminal, request.stdin, request.cwd) == (True, terminal, True, b"/srv")
    assert (request.env, request.kill_after) == (((b"LANG", b"C"),), None)


async def test_run_accepts_input_or_a_source(tmp_path: Path) -> None:
    async with client_of(tmp_path, echo) as (client, service):
        (tmp_path / "data").write_bytes(b"file")
        with (tmp_path / "data").open("rb") as file:
            assert (await client.run(["cat"], stdin=file, text=True)).stdout == "file"
        assert (await client.run(["cat"], input="text", text=True)).stdout == "text"
        assert (await client.run(["cat"], merge_stderr=True)).stderr is None
    assert [run.request.stdin for run in service.runs] == [True, True, False]


async def test_an_existing_run_is_addressed_by_a_shortened_id(tmp_path: Path) -> None:
    async with client_of(tmp_path, stoppable) as (client, service):
        service.answer = listing(info(ID, command="sleep 9"))
        assert [run.id for run in await client.runs(prefix="0189")] == [ID]
        assert (await client.info("0189")).command == "sleep 9"
        assert (await client.stop("0189", kill_after=1)).outcome == STOPPED
        async with client.attach("0189", stdin=True) as run:
            assert (run.id, run.stdin is not None) == (ID, True)
            await run.stop()
    assert service.runs[0].messages[0] == m.Stop(kill_after=1)


async def test_wait_leaves_the_output_alone(tmp_path: Path) -> None:
    async def behave(run: object) -> None:
        service.runs[0].started()
        service.runs[0].ended(Exited(code=3), stdout=10)

    async with client_of(tmp_path, behave) as (client, service):
        result = await client.wait(ID)
    assert (result.returncode, result.stdout) == (3, 10)
    attach = service.runs[0].attach
    assert attach is not None
    assert (attach.stdout, attach.stderr, attach.read_only) == (None, None, True)


async def test_a_read_only_attachment_cannot_feed_or_hold(tmp_path: Path) -> None:
    async with client_of(tmp_path, so_far) as (client, service):
        with pytest.raises(ValueError, match="cannot feed stdin or hold the run"):
            client.attach(ID, read_only=True, stdin=True)
        with pytest.raises(ValueError, match="cannot feed stdin or hold the run"):
            client.attach(ID, read_only=True, hold=True)
        async with client.attach(ID, offset=(None, 2), read_only=True, follow=False):
            pass
    attach = service.runs[0].attach
    assert attach is not None
    assert (attach.stdout, attach.stderr, attach.hold, attach.follow) == (None, 2, False, False)


async def test_requests_with_one_answer_are_sent_to_the_service(tmp_path: Path) -> None:
    matched = m.Matched(reason="idle", start=0, end=0)
    async with client_of(tmp_path) as (client, service):
        service.answer = lambda fake, channel, _: fake.send(m.Done(), channel)
        await client.signal(ID, 15)
        assert await client.recording(ID) == []
        service.answer = lambda fake, channel, _: fake.send(matched, channel)
        assert await client.wait_for(ID, idle=3) == matched
    assert service.questions == [m.Deliver(id=ID, number=15), m.RecordingRequest(id=ID), m.WaitFor(id=ID, idle=3)]
