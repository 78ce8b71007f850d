"""The repr of an object says what it is and how it stands, never a secret and never all of its output."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from farhand_client import (
    PIPE,
    Chunk,
    CommandError,
    Completed,
    Exited,
    Killed,
    Result,
    RunOptions,
    Signaled,
    sync,
)
from tests.support.fake_runs import ID, printing, stoppable
from tests.support.fake_service import client_of
from tests.support.serving import serving


async def test_a_client_says_where_it_is_and_whether_it_is_connected(tmp_path: Path) -> None:
    async with client_of(tmp_path) as (client, service):
        assert repr(client) == f"<Client of ann@fake ({service.host}), connected>"
    assert repr(client).endswith(", closed>")


async def test_a_client_says_that_it_reconnects(tmp_path: Path) -> None:
    lost = asyncio.Event()
    async with client_of(tmp_path, reconnect=60, watch=lambda outage: lost.set()) as (client, service):
        service.connections[0].cut()
        await lost.wait()
        assert repr(client).endswith(", reconnecting>")


async def test_a_run_says_what_it_runs_and_how_it_ended(tmp_path: Path) -> None:
    async with client_of(tmp_path, stoppable) as (client, _):
        starting = client.start(["sleep", "é\udcff"], stdin=PIPE, run_id=ID)
        assert repr(starting) == "<Pending: await it, or enter it with async with>"
        async with starting as run:
            assert repr(run) == f"<RunWithStdin {ID} of ['sleep', 'é\\udcff']: is running>"
            assert repr(run.stdin) == "<InputStream, open, 0 bytes unsent>"
            run.stdin.close()
            assert repr(run.stdin) == "<InputStream, closed, 0 bytes unsent>"
            assert repr(run.stdout) == f"<OutputStream of run {ID}, open, 0 bytes unread>"
        assert repr(run).endswith(": was stopped on request>")
        async with client.start("x" * 10_000, shell=True) as script:
            assert "of the script 'xxx" in repr(script)
            assert len(repr(script)) < 200
        async with client.shell(None) as shell:
            assert "of a login shell: is running" in repr(shell)
            shell.abandon()
            assert repr(shell).endswith("left, or its outcome is unknown>")
        attached = await client.attach(ID)
        assert repr(attached) == f"<Run {ID}: is running>"
        attached.detach()


async def test_unread_output_is_counted(tmp_path: Path) -> None:
    async with client_of(tmp_path, printing(b"12345")) as (client, _), client.start(["x"]) as run:
        await run.wait()
        assert repr(run.stdout).endswith(", ended, 5 bytes unread>")
        run.stdout.discard()
        assert repr(run.stdout).endswith(", discarded, 0 bytes unread>")


def completed(stdout: Any, stderr: Any, outcome: Exited | Signaled | Killed) -> Completed:
    return Completed(["prog"], Result(outcome, ID, 0.5, 0, 0, False), stdout, stderr, truncated=False)


def test_a_completed_run_counts_its_output() -> None:
    done = completed(bytes(1 << 20), b"", Exited(code=3))
    assert repr(done) == "<Completed ['prog'] exited with code 3, stdout of 1048576 bytes, stderr of 0 bytes>"
    assert repr(completed("text", None, Signaled(signal=9))) == (
        "<Completed ['prog'] was terminated by SIGKILL, stdout of 4 characters>"
    )
    assert len(repr(CommandError(done))) < 200


def test_a_chunk_shows_only_the_beginning_of_its_data() -> None:
    assert repr(Chunk("stdout", 3, b"x")) == "Chunk(stream='stdout', offset=3, data=b'x')"
    assert len(repr(Chunk("stdout", 3, bytes(1 << 20)))) < 150


def test_options_show_what_differs_and_no_values_of_variables() -> None:
    options = RunOptions.of(cwd="/srv", env={"TOKEN": "secret"}, timeout=3)
    assert repr(options) == "RunOptions(cwd=b'/srv', env=['TOKEN'], timeout=3.0)"
    assert repr(RunOptions()) == "RunOptions()"


def test_the_blocking_objects_say_the_same(tmp_path: Path) -> None:
    with (
        serving(tmp_path, stoppable) as service,
        sync.connect(service.host) as client,
        client.start(["sleep"], stdin=sync.PIPE, run_id=ID) as run,
    ):
        assert repr(client) == f"<blocking Client of ann@fake ({service.host}), connected>"
        assert repr(run) == f"<blocking RunWithStdin {ID} of ['sleep']: is running>"
        assert repr(run.stdin).startswith("<blocking InputStream, open")
        assert repr(run.stdout).startswith("<blocking OutputStream of run")
