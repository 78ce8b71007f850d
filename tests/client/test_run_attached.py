"""A client attaches to an existing run, reads its output from any offset at any pace, and leaves it running."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from farhand_client import Chunk, ConnectionLost, Exited, Gap, RunGoesOn
from farhand_protocol import messages as m
from tests.support.fake_runs import ID, STOPPED, so_far, stoppable
from tests.support.fake_service import FakeRun, client_of


async def test_attach_requests_what_its_arguments_say(tmp_path: Path) -> None:
    async with client_of(tmp_path, stoppable) as (client, service):
        asked: list[dict[str, Any]] = [
            {},
            {"read_only": True},
            {"follow": False},
            {"offset": 5},
            {"offset": (3, None), "hold": False},
            {"stdin": True},
            {"stdin": 7},
        ]
        for options in asked:
            async with client.attach(ID, **options) as run:
                assert (run.id, run.new, run.kept) == (ID, False, True)
        whole = {"id": ID, "stdout": 0, "stderr": 0, "hold": True}
        expected: list[dict[str, Any]] = [
            whole,
            whole | {"read_only": True, "hold": False},
            whole | {"follow": False, "hold": False},
            whole | {"stdout": 5},
            whole | {"stdout": 3, "stderr": None, "hold": False},
            whole | {"stdin": 0},
            whole | {"stdin": 7},
        ]
        keys = [one.attach.attachment for one in service.runs if one.attach is not None]
        assert len(set(keys)) == len(asked)
        wanted = [m.Attach(attachment=key, **fields) for key, fields in zip(keys, expected, strict=True)]
        assert [one.attach for one in service.runs] == wanted
        with pytest.raises(ValueError, match="read-only"):
            client.attach(ID, read_only=True, stdin=True)
        with pytest.raises(ValueError, match="it must be 0 or more"):
            client.attach(ID, offset=-1)


async def test_attached_output_begins_at_the_offset_and_the_outcome_is_known(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write_rest("stdout", b"0123456789")
        await run.write_rest("stderr", b"err")
        run.ended(Exited(code=3))

    async with client_of(tmp_path, behave) as (client, _):
        async with client.attach(ID, offset=(4, None)) as run:
            assert (await run.stdout.read(), run.stderr) == (b"456789", None)
            assert (await run.wait()).outcome == Exited(code=3)
        assert (await client.wait(ID)).outcome == Exited(code=3)


async def test_without_follow_the_output_ends_at_its_current_end(tmp_path: Path) -> None:
    async with client_of(tmp_path, so_far) as (client, service), client.attach(ID, follow=False) as run:
        assert await run.stdout.read() == b"so far"
        with pytest.raises(RunGoesOn, match="has not ended"):
            await run.wait()
        items = [item async for item in run.output(2, follow=False)]
        assert items == [Chunk("stdout", 2, b" far")]
        await client.ping()
        assert service.connections[0].connection.open_channels == 0


async def test_output_is_read_independently_of_the_streams(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        if run.attach is None:
            await run.until(m.Stop)
            run.ended(STOPPED, stdout=110, stderr=2)
            return
        run.send(m.GapNotice(stream="stdout", offset=0, bytes=100))
        run.sent["stdout"] = 100
        await run.write("stdout", b"0123456789")
        await run.write_rest("stderr", b"ab")
        if run.attach.stderr is None:
            run.ended(stderr=2)
        else:
            await run.until(m.Close)

    async with client_of(tmp_path, behave) as (client, _), client.start(["prog"]) as run:
        items: list[Chunk | Gap] = []
        async with contextlib.aclosing(run.output()) as output:
            async for item in output:
                items.append(item)
                if len(items) == 2:
                    break
        assert items == [Gap("stdout", 0, 100), Chunk("stdout", 100, b"0123456789")]
        assert [item async for item in run.output((0, None))] == items
        run.stdout.discard()


async def test_a_run_that_is_left_continues(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", bytes(1 << 20))
        await run.until(m.Close)

    async with client_of(tmp_path, behave) as (client, service):
        for options in ({"on_disconnect": "keep"}, {}):
            run = await client.start(["prog"], **options)  # type: ignore[call-overload]  # as a script would
            run.detach()
            with pytest.raises(
                ConnectionLost, match="it keeps running" if options else "stops it after its grace period"
            ):
                await run.wait()
        async with client.start(["prog"], on_disconnect="keep") as kept:
            pass
        with pytest.raises(asyncio.TimeoutError):
            async with asyncio.timeout(0.05):
                await client.run(["prog"], on_disconnect="keep")
        assert kept.kept
        await asyncio.gather(*service.tasks)
        assert {type(one) for run in service.runs for one in run.messages} == {m.Close}
