"""`farhand run` with runs that survive their connection: detached, requested again, cut off and resumed."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

from farhand_client import Exited
from farhand_protocol import messages as m
from farhand_protocol.limits import MiB
from tests.support.command import farhand, running
from tests.support.fake_runs import ID, Gate, ready_until_stopped
from tests.support.fake_service import FakeRun, FakeService


async def test_detach_prints_the_id_and_leaves_the_run_running(service: FakeService, tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.until(m.Close)

    service.behave = behave
    done = await farhand("run", "--detach", "--status-json", str(tmp_path / "s"), service.host, "prog")
    request = service.runs[0].request
    assert (done.code, done.stdout, done.stderr) == (0, f"{request.id}\n".encode(), b"")
    assert (request.on_disconnect, request.spool) == ("keep", 64 * MiB)
    assert [type(one) for one in service.runs[0].messages] == [m.Close]
    status = json.loads((tmp_path / "s").read_text())
    assert status == {"status": "detached", "run_id": request.id, "pid": 4711, "new": True}
    await farhand("run", "--detach", "--buffer", "block", service.host, "prog")
    assert service.runs[1].request.spool is None


async def test_an_existing_id_delivers_the_output_from_the_beginning(service: FakeService, tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started(new=False)
        await run.write("stdout", b"from the beginning")
        run.ended()

    service.behave = behave
    done = await farhand("run", "--id", ID, "--status-json", str(tmp_path / "s"), service.host, "prog")
    assert (done.code, done.stdout) == (0, b"from the beginning")
    assert json.loads((tmp_path / "s").read_text())["new"] is False


async def test_a_short_outage_is_not_reported(service: FakeService) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write_rest("stdout", b"one" if run.attach is None else b"one two")
        if run.attach is None:
            assert run.client.transport is not None
            run.client.transport.close()
        else:
            run.ended(Exited(code=6))

    service.behave = behave
    done = await farhand("run", service.host, "prog")
    assert (done.code, done.stdout, done.stderr) == (6, b"one two", b"")


async def test_a_longer_outage_is_reported_and_ctrl_c_is_sent_after_it(service: FakeService) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        if run.attach is None:
            await run.write("stdout", b"ready\n")
        else:
            assert await run.until(m.Signal) == m.Signal(number=signal.SIGINT)
            run.ended(Exited(code=9))

    service.behave = behave
    gate = Gate(service)
    async with running("run", "--reconnect", "60", service.host, "prog") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        await process.stdout.readline()
        await gate.shut()
        down = await process.stderr.readline()
        expected = rf"farhand: connection to {service.host} lost; reconnecting \(for up to (\d+) s\)\n"
        said = re.fullmatch(expected, down.decode())
        assert said is not None
        assert int(said[1]) <= 58, "an outage is reported after two seconds at the earliest"
        process.send_signal(signal.SIGINT)
        queued = b"farhand: not connected; the interrupt will be sent after reconnecting. Ctrl-C again to leave\n"
        assert await process.stderr.readline() == queued
        gate.open()
        assert await process.stderr.readline() == f"farhand: connected to {service.host} again\n".encode()
        assert await process.wait() == 9


async def test_a_second_ctrl_c_leaves_during_an_outage(service: FakeService) -> None:
    service.behave = ready_until_stopped
    gate = Gate(service)
    async with running("run", service.host, "prog") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        await process.stdout.readline()
        await gate.shut()
        process.send_signal(signal.SIGINT)
        await process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert (await process.stderr.readline()).startswith(b"farhand: abandoned run ")
        assert await process.wait() == 130


async def test_missing_output_is_reported_in_place_and_exits_with_255(service: FakeService, tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        run.send(m.GapNotice(stream="stdout", offset=0, bytes=7))
        run.sent["stdout"] = 7
        await run.write("stdout", b"the rest")
        run.ended()

    service.behave = behave
    done = await farhand("run", "--status-json", str(tmp_path / "s"), service.host, "prog")
    assert (done.code, done.stdout) == (255, b"the rest")
    first, second = done.stderr.decode().splitlines()
    assert first == "farhand: 7 bytes of stdout from offset 0 on are no longer kept"
    assert second.endswith("exited with code 0, but 7 bytes of its output are missing")
    error = json.loads((tmp_path / "s").read_text())["error"]
    assert (error["type"], error["outcome"]) == ("OutputIncomplete", {"status": "exited", "code": 0})
