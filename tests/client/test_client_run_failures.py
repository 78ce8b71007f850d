"""A run that did not start, or whose outcome is unknown, raises an error that says what is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from farhand_client import ConnectionLost, Exited, Lost, OutputIncomplete, RequestRefused, SpawnError, SpawnFailed
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from tests.support.fake_runs import printing, run
from tests.support.fake_service import FakeRun, client_of, refusing


async def test_a_program_that_did_not_start_is_an_error_with_its_errno(tmp_path: Path) -> None:
    outcome = SpawnFailed(errno=2, error="ENOENT", what="program", message="there is no nope")

    async def behave(run: FakeRun) -> None:
        run.ended(outcome)

    with pytest.raises(SpawnError, match="there is no nope") as caught:
        await run(tmp_path, behave)
    assert (caught.value.errno, caught.value.outcome) == (2, outcome)


async def test_a_script_that_was_not_meant_for_a_shell_is_an_error_that_names_the_keyword(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.ended(SpawnFailed(errno=2, error="ENOENT", what="program", message="there is no 'ls -l'"))

    async with client_of(tmp_path, behave) as (client, _):
        with pytest.raises(SpawnError, match="there is no 'ls -l'; to run it in a shell, add shell=True;"):
            await client.run("ls -l")
        with pytest.raises(SpawnError, match=r"there is no 'ls -l'$"):
            await client.run("ls -l", shell=True)


async def test_a_refusal_has_its_code_and_leaves_the_connection_up(tmp_path: Path) -> None:
    async with client_of(tmp_path, refusing(ErrorCode.DENIED, "not for you")) as (client, service):
        with pytest.raises(RequestRefused, match="not for you") as caught:
            await client.run(["rm"])
        assert caught.value.code is ErrorCode.DENIED
        assert caught.value.run_id == service.runs[0].request.id
        assert await client.ping() > 0


async def test_a_service_that_crashes_during_a_run_is_never_success(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", b"half of it")
        run.client.cut()

    async with client_of(tmp_path, behave) as (client, service):
        with pytest.raises(ConnectionLost, match=r"may have run.*under the same id, it does not run twice") as caught:
            await client.run(["true"])
        assert caught.value.run_id == service.runs[0].request.id
        assert caught.value.may_have_run
        with pytest.raises(ConnectionLost) as again:
            await client.run(["true"])
        assert not again.value.may_have_run


async def test_the_end_of_all_streams_without_an_outcome_is_a_loss(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        run.send(m.End(stream="stdout"))
        run.send(m.End(stream="stderr"))
        assert run.client.transport is not None
        run.client.transport.close()

    with pytest.raises(ConnectionLost, match="its outcome is unknown"):
        await run(tmp_path, behave)


async def test_a_lost_run_raises_connection_lost(tmp_path: Path) -> None:
    with pytest.raises(ConnectionLost, match="the service that ran it is gone"):
        await run(tmp_path, printing(outcome=Lost()))


async def test_missing_output_raises_output_incomplete(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", b"12345")
        run.sent["stdout"] = 9
        run.ended()

    with pytest.raises(OutputIncomplete, match="exited with code 0, but only 5 of 9 bytes of stdout arrived") as caught:
        await run(tmp_path, behave)
    assert caught.value.outcome == Exited(code=0)
