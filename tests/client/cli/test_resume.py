"""Runs that the direct path hands over. `tests/client/direct/test_command.py` cuts connections at many places."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from farhand_client.cli.resume import ResumedRun
from farhand_client.errors import RequestRefused
from farhand_client.handover import Handover
from farhand_client.ui.outages import OutageNotice
from farhand_client.ui.printing import LocalError
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from tests.support.fake_runs import ID
from tests.support.fake_service import FakeRun, FakeService

REQUEST = {"type": "run", "id": ID, "attachment": bytes(16), "argv": (b"prog",), "kill_after": 5.0}
LIMITS = {"message": 65536, "data": 65536, "window": 1 << 22, "channels": 9}
WELCOME = {"version": 1, "software": "s", "limits": LIMITS, "login": False, "nonce": bytes(32)}


def resumed(host: str) -> ResumedRun:
    options = argparse.Namespace(identity=[], connect_timeout=30.0)
    return ResumedRun(host, options, Handover(REQUEST, WELCOME, {"user": "a", "host": "h"}), OutageNotice(host))


async def test_a_run_goes_on_at_its_offsets(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started(new=False)
        await run.write_rest("stdout", b"0123456789")
        run.ended(stdout=10)

    async with FakeService(behave).on_socket(tmp_path) as service:
        run = resumed(service.host)
        run.handover.started = {"pid": 7}
        run.handover.streams["stdout"].written = 4
        run.handover.streams["stdout"].unwritten = [b"45"]
        async with run.open_client(60.0)(), run.start(lambda gap: None) as started:
            assert await started.stdout.read() == b"456789"
            assert (await started.wait()).run_id == ID
        [attached] = service.runs
        assert attached.attach is not None
        assert (attached.attach.stdout, attached.attach.hold) == (6, True)


async def test_the_last_message_needs_no_connection(tmp_path: Path) -> None:
    run = resumed(f"unix:{tmp_path}/nothing")
    run.handover.final = m.encode(m.Error(code=ErrorCode.DENIED, message="no"))
    async with run.open_client(60.0)():
        with pytest.raises(RequestRefused, match=r"^no$"):
            await run.start(lambda gap: None)


def test_what_had_failed_is_raised_again() -> None:
    run = resumed("web")
    run.raise_what_failed()
    run.handover.failure = "cannot write to stdout: it is closed"
    with pytest.raises(LocalError, match=r"^cannot write to stdout"):
        run.raise_what_failed()
    run.handover.output_closed = True
    with pytest.raises(BrokenPipeError):
        run.raise_what_failed()
