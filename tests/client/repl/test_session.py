"""What a session at a terminal reports between commands, and what it makes for the active hosts."""

from __future__ import annotations

import asyncio
import errno
import os

import pytest

from farhand_client.repl.output import LabelledOutput
from farhand_client.repl.runner import Interrupted, InterruptGroup
from farhand_client.repl.session import ReplSession
from farhand_protocol import messages as m
from tests.support.fake_runs import printing
from tests.support.fake_service import FakeService

Captured = pytest.CaptureFixture[str]
ID = "01a1fc79-3b2c-7abc-8def-000000000001"
OTHER = "01a1fc80-0000-7000-8000-000000000003"


async def test_the_exit_code_is_the_first_that_is_not_0(session: ReplSession) -> None:
    await session.hosts.add("db")
    assert session.exit_code == 0
    session.hosts.active[1].state.code = 3
    assert session.exit_code == 3


async def test_an_interrupt_before_a_command_is_recorded(session: ReplSession) -> None:
    session.set_interrupted()
    assert (session.exit_code, session.hosts.active[0].state.outcome) == (130, "SIGINT")


async def test_jobs_that_ended_are_reported_once(session: ReplSession, capfd: Captured) -> None:
    web = session.hosts.active[0]
    web.jobs.add(ID, "make \x1b&").ended = "exited 3"
    session.report_events()
    session.report_events()
    assert capfd.readouterr().err == "farhand: [01a1fc79-3b2c] exited 3: make \\x1b&\n"


async def test_events_name_the_host_if_there_are_several(session: ReplSession, capfd: Captured) -> None:
    await session.hosts.add("db")
    session.hosts.known["db"].jobs.add(ID, "x" * 200).ended = "done"
    session.report_events()
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("farhand: db: [01a1fc79-3b2c] done: xxx")
    assert len(line) == 80


async def test_a_shutdown_is_reported(session: ReplSession, service: FakeService, capfd: Captured) -> None:
    service.connections[0].send(m.GoingAway(grace=1.0))
    client = session.hosts.active[0].connection.client
    assert client is not None
    await client.ping()
    session.report_events()
    assert "is shutting down and accepts no new commands" in capfd.readouterr().err


async def test_jobs_that_keep_running_are_named(session: ReplSession, capfd: Captured) -> None:
    web = session.hosts.active[0]
    web.jobs.add(ID, "make &").ended = "done"
    session.report_leaving()
    assert capfd.readouterr().err == "farhand: [01a1fc79-3b2c] done: make &\n"
    web.jobs.add(OTHER, "soak &")
    session.report_leaving()
    assert capfd.readouterr().err == "farhand: still running on web: 01a1fc80-0000\n"


async def test_a_line_left_at_a_terminal_is_named_as_one_that_is_kept_for_a_while(
    session: ReplSession, capfd: Captured
) -> None:
    session.hosts.active[0].jobs.add(OTHER, "vim", kept=False)
    session.report_leaving()
    assert capfd.readouterr().err == (
        "farhand: still running on web, for a day unless its service is configured otherwise: 01a1fc80-0000; "
        "farhand attach web 01a1fc80-0000 returns to it\n"
    )


async def test_nothing_is_claimed_of_jobs_on_a_host_whose_connection_is_lost(
    session: ReplSession, capfd: Captured
) -> None:
    web = session.hosts.active[0]
    web.jobs.add(OTHER, "soak &")
    await web.connection.close()
    session.report_leaving()
    assert capfd.readouterr().err == "farhand: running on web when the connection was lost: 01a1fc80-0000\n"


async def test_jobs_that_end_with_the_service_are_left_to_its_owner_to_report(
    session: ReplSession, capfd: Captured
) -> None:
    session.hosts.active[0].private = True
    session.hosts.active[0].jobs.add(OTHER, "soak &")
    session.report_leaving()
    assert capfd.readouterr().err == ""


async def test_jobs_that_ended_are_reported_on_a_terminal_that_is_gone(
    session: ReplSession, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(fd: int) -> os.terminal_size:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    session.hosts.active[0].jobs.add(ID, "make &").ended = "done"
    monkeypatch.setattr(os, "get_terminal_size", gone)
    session.report_leaving()
    assert "done: make" in capfd.readouterr().err


async def test_output_is_labelled_for_several_hosts(session: ReplSession) -> None:
    web = session.hosts.active[0]
    assert session.output(web) is session.standard_output
    await session.hosts.add("db")
    assert isinstance(session.output(web), LabelledOutput)


async def test_the_branches_of_active_hosts_are_requested(session: ReplSession, service: FakeService) -> None:
    service.behave = printing(b"ref: refs/heads/main")
    session.refresh_branches()
    await asyncio.wait_for(service.arrived.wait(), 10)
    assert service.runs[0].request.argv is not None


async def test_ctrl_c_cancels_a_request(session: ReplSession, interrupts: InterruptGroup) -> None:
    async def request() -> None:
        interrupts()
        await asyncio.Event().wait()

    with session.interrupts_to_command(), pytest.raises(Interrupted):
        await session.request(request())


async def test_an_invalid_name_of_a_terminal_is_reported_once(
    session: ReplSession, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    monkeypatch.setenv("TERM", "a b")
    web = session.hosts.active[0]
    session.terminal_runner(web)
    session.terminal_runner(web)
    said = capfd.readouterr().err
    assert said.count("TERM is 'a b'") == 1
    assert said.endswith("; programs get TERM=dumb\n")
