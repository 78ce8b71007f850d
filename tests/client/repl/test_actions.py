"""What the REPL's own commands print and change."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from farhand_client.errors import RequestRefused
from farhand_client.repl.actions import ACTIONS, perform
from farhand_client.repl.commands import REPL_COMMANDS, ExitRepl, parse_command
from farhand_client.repl.runner import Interrupted, InterruptGroup
from farhand_client.repl.session import ReplSession
from farhand_protocol import messages as m
from farhand_protocol.outcome import Exited, Killed
from tests.support.fake_listing import info, listing
from tests.support.fake_runs import ID, OTHER
from tests.support.fake_service import FakeRun, FakeService
from tests.support.ptys import Pty

Captured = pytest.CaptureFixture[str]
NAME = ID[:13]


@pytest.fixture(autouse=True)
def _captured(capfd: Captured, session: ReplSession) -> None:
    """Capture the output of every test."""


async def command(session: ReplSession, line: str) -> int | None:
    with session.interrupts_to_command():
        return await perform(session, parse_command(line))


def test_each_command_has_an_action() -> None:
    assert ACTIONS.keys() == REPL_COMMANDS.keys()


async def test_help_prints_the_commands(session: ReplSession, capfd: Captured) -> None:
    assert await command(session, ":help jobs") == 0
    assert capfd.readouterr().out.startswith(":jobs [-a]  list runs")


async def test_quit_leaves_with_the_last_exit_code(session: ReplSession) -> None:
    session.hosts.active[0].state.set_outcome(3)
    for line in (":quit", "quit"):
        with pytest.raises(ExitRepl) as leaving:
            await command(session, line)
        assert leaving.value.code == 3


class TestHost:
    async def test_hosts_are_listed_and_the_active_ones_marked(self, session: ReplSession, capfd: Captured) -> None:
        await command(session, ":host +db")
        await command(session, ":host db")
        assert await command(session, ":host") == 0
        assert capfd.readouterr().out == "  web  ann@fake:~\n* db  ann@fake:~\n"

    async def test_jobs_of_a_removed_host_are_named(self, session: ReplSession, capfd: Captured) -> None:
        await command(session, ":host +db")
        session.hosts.known["db"].jobs.add(ID, "make &")
        assert await command(session, ":host -db") == 0
        assert capfd.readouterr().err == f"farhand: still running on db: {NAME}\n"

    async def test_jobs_of_a_removed_host_whose_service_ends_with_the_repl_are_said_to_end_with_it(
        self, session: ReplSession, capfd: Captured
    ) -> None:
        session.hosts.active[0].private = True
        session.hosts.active[0].jobs.add(ID, "make &")
        await command(session, ":host db")
        assert await command(session, ":host -web") == 0
        assert capfd.readouterr().err == f"farhand: still running on web until the REPL ends: {NAME}\n"

    async def test_a_sign_without_a_host_is_refused(self, session: ReplSession) -> None:
        with pytest.raises(ValueError, match="usage: :host"):
            await command(session, ":host +")


class TestState:
    async def test_cd_changes_or_prints_the_directory(self, session: ReplSession, capfd: Captured) -> None:
        assert await command(session, ":cd /") is None
        assert await command(session, ":cd") == 0
        assert capfd.readouterr().out == "/\n"

    async def test_env_sets_unsets_and_lists_variables(self, session: ReplSession, capfd: Captured) -> None:
        assert await command(session, ":env A='x y' B= -LANG") == 0
        assert await command(session, ":env") == 0
        assert capfd.readouterr().out == "A='x y'\nB=\n-LANG\n"

    @pytest.mark.parametrize(
        ("word", "sentence"), [("A", "neither"), ("1=2", "neither"), ("PWD=/", "set by the shell")]
    )
    async def test_other_words_for_env_are_refused(self, session: ReplSession, word: str, sentence: str) -> None:
        with pytest.raises(ValueError, match=sentence):
            await command(session, f":env {word}")


class TestJobs:
    async def test_background_runs_of_the_account_are_listed(
        self, session: ReplSession, service: FakeService, capfd: Captured
    ) -> None:
        fields: dict[str, Any] = {"outcome": None}
        service.answer = listing(
            info(OTHER, owner="bob", on_disconnect="keep", **fields), info(ID, on_disconnect="keep", **fields)
        )
        assert await command(session, ":jobs") == 0
        _, *lines = capfd.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines] == [NAME]

    async def test_without_any_jobs_a_message_is_printed(self, session: ReplSession, capfd: Captured) -> None:
        assert await command(session, ":jobs") == 0
        assert await command(session, ":jobs -a") == 0
        assert capfd.readouterr().err == (
            "farhand: no runs in the background here; :jobs -a also lists those that have ended\n"
            "farhand: no runs in the background here\n"
        )

    async def test_other_options_are_refused(self, session: ReplSession) -> None:
        with pytest.raises(ValueError, match="usage: :jobs"):
            await command(session, ":jobs -b")

    async def test_detach_stops_reporting_a_job(self, session: ReplSession, capfd: Captured) -> None:
        assert await command(session, ":detach") == 0
        session.hosts.active[0].jobs.add(ID, "make &")
        assert await command(session, f":detach {NAME}") == 0
        assert await command(session, f":detach {ID}") == 0
        assert capfd.readouterr().err == (
            "farhand: no program has the terminal; while one does, Enter ~d leaves it running\n"
            f"farhand: [{NAME}] its outcome will not be reported\n"
            f"farhand: [{NAME}] is not a job here; its outcome would not be reported\n"
        )

    async def test_kill_stops_runs_and_reports_their_outcome(
        self, session: ReplSession, service: FakeService, capfd: Captured
    ) -> None:
        async def behave(run: FakeRun) -> None:
            run.started()
            await run.until(m.Stop)
            run.ended(Killed(reason="requested", signal=15))

        service.behave = behave
        session.hosts.active[0].jobs.add(ID, "make &")
        assert await command(session, f":kill {NAME}") == 0
        assert capfd.readouterr().err == f"farhand: [{NAME}] stopped\n"
        assert session.hosts.active[0].jobs.running == []


class TestFinding:
    @pytest.mark.parametrize(("word", "sentence"), [("xyz", "no run id begins"), ("01", "too short for an id")])
    async def test_a_word_that_is_no_id_is_refused(self, session: ReplSession, word: str, sentence: str) -> None:
        with pytest.raises(ValueError, match=sentence):
            await command(session, f":kill {word}")

    async def test_an_unknown_id_is_refused_by_the_service(self, session: ReplSession) -> None:
        with pytest.raises(RequestRefused, match="ffffffff"):
            await command(session, ":kill ffffffff")

    async def test_an_id_on_several_hosts_is_ambiguous(self, session: ReplSession) -> None:
        await command(session, ":host +db")
        session.hosts.known["web"].jobs.add(ID, "make &")
        session.hosts.known["db"].jobs.add(OTHER, "make &")
        with pytest.raises(ValueError, match=f"matches {ID[:18]} on web and {OTHER[:18]} on db"):
            await command(session, f":kill {ID[:8]}")


class TestAttach:
    async def test_the_end_of_the_output_is_shown_until_the_run_ends(
        self, session: ReplSession, service: FakeService, capfd: Captured
    ) -> None:
        size = 300 * 1024

        async def behave(run: FakeRun) -> None:
            run.started()
            await run.write("stdout", b"end\n")
            run.ended(Exited(code=3), stdout=size + 4)

        service.answer = listing(info(ID, stdout=size + 4, stderr=0, outcome=None))
        service.behave = behave
        service.requests[ID] = m.RunRequest(id=ID, argv=(b"make",))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("farhand_client.repl.actions.MAX_TAIL", 4)
            assert await command(session, f":attach {ID}") == 3
        captured = capfd.readouterr()
        assert captured.out == "end\n"
        assert "Ctrl-C leaves it running" in captured.err
        assert "showing only the last 0 KiB" in captured.err
        assert captured.err.endswith(f"farhand: [{NAME}] exited 3\n")

    async def test_a_transfer_is_not_shown(self, session: ReplSession, service: FakeService) -> None:
        service.answer = listing(info(ID, transfer=True))
        with pytest.raises(ValueError, match="is a transfer of files"):
            await command(session, f":attach {ID}")

    async def test_ctrl_c_leaves_it_running_as_a_job(
        self, session: ReplSession, service: FakeService, interrupts: InterruptGroup, capfd: Captured
    ) -> None:
        async def behave(run: FakeRun) -> None:
            run.started()
            interrupts()
            await run.lost()

        service.answer = listing(info(ID, outcome=None))
        service.behave = behave
        assert await command(session, f":attach {ID}") == 0
        assert capfd.readouterr().err.endswith(f"farhand: [{NAME}] still running\n")
        assert [job.id for job in session.hosts.active[0].jobs.running] == [ID]

    async def test_without_an_id_it_is_the_last_job(
        self, session: ReplSession, service: FakeService, capfd: Captured
    ) -> None:
        async def behave(run: FakeRun) -> None:
            run.started()
            run.ended(Exited(code=0))

        with pytest.raises(ValueError, match="there is no job here"):
            await command(session, "fg")
        for run_id in (OTHER, ID):
            service.answer = listing(info(run_id, outcome=None))
            session.hosts.active[0].jobs.add(run_id, "make &").waiting = None
        service.answer = listing(info(max(ID, OTHER), outcome=None))
        service.behave = behave
        assert await command(session, "fg") == 0
        assert capfd.readouterr().err.endswith(f"farhand: [{max(ID, OTHER)[:13]}] done\n")

    async def test_a_run_with_a_terminal_is_shown_on_the_terminal(
        self, session: ReplSession, service: FakeService, pty: Pty
    ) -> None:
        async def behave(run: FakeRun) -> None:
            run.started()
            await run.write("stdout", b"on screen")
            run.ended(Exited(code=4), stdout=9)

        terminal = m.WindowSize(columns=80, rows=24)
        service.answer = listing(info(ID, terminal=terminal, stdout=0, stderr=0, outcome=None))
        service.behave = behave
        assert await command(session, f":attach {ID}") == 4
        await pty.shows(b"on screen")


async def test_a_request_can_be_cancelled(
    session: ReplSession, service: FakeService, interrupts: InterruptGroup
) -> None:
    service.answer = lambda connection, channel, question: interrupts()
    with pytest.raises(Interrupted):
        await asyncio.wait_for(command(session, ":jobs"), 10)
