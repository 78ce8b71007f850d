"""Completions of what is typed: names on the remote host, and arguments of the REPL's own commands."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from farhand_client.repl.completer import ARGUMENTS_TIMEOUT, COMPLETION_TIMEOUT, RemoteCompleter
from farhand_client.repl.session import ReplSession
from farhand_protocol import messages as m
from farhand_protocol.outcome import TimedOut
from tests.support.fake_listing import info, listing
from tests.support.fake_runs import ID, OTHER, printing, stoppable
from tests.support.fake_service import FakeService


@pytest.fixture
def completer(session: ReplSession) -> RemoteCompleter:
    made = RemoteCompleter()
    made.hosts = session.hosts
    return made


async def completed(completer: RemoteCompleter, before: str) -> list[str]:
    """Return the texts that completion offers instead of the text `before` the cursor."""
    return [
        before[: len(before) + completion.start_position] + completion.text
        async for completion in completer.get_completions_async(Document(before), CompleteEvent())
    ]


async def test_without_a_connection_there_are_no_completions(service: FakeService) -> None:
    completer = RemoteCompleter()
    assert await completed(completer, "ls ") == []
    assert list(completer.get_completions(Document("ls "), CompleteEvent())) == []


async def test_names_in_the_directory_of_the_first_host_are_completed(
    completer: RemoteCompleter, session: ReplSession, home: Path
) -> None:
    (home / "sub/a b").mkdir(parents=True)
    (home / "sub/abc").touch()
    session.hosts.active[0].state.directory = bytes(home / "sub")
    assert await completed(completer, "ls a") == ["ls a\\ b/", "ls abc"]
    assert await completed(completer, ":cd a") == [":cd a\\ b/"]


async def test_files_to_send_are_completed_here_and_files_to_fetch_there(
    completer: RemoteCompleter, session: ReplSession, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "here/some dir").mkdir(parents=True)
    (home / "there").mkdir()
    (home / "there/some file").touch()
    monkeypatch.chdir(home / "here")
    session.hosts.active[0].state.directory = bytes(home / "there")
    assert await completed(completer, ":put so") == [":put some\\ dir/"]
    assert await completed(completer, ":get so") == [":get some\\ file "]
    assert await completed(completer, ":put a so") == [":put a some\\ dir/", ":put a some\\ file "]
    assert await completed(completer, ":get $x") == []


async def test_a_longer_beginning_is_answered_from_the_cache_until_a_line_runs(
    completer: RemoteCompleter, service: FakeService, home: Path
) -> None:
    (home / "notes").touch()
    assert await completed(completer, "ls n") == ["ls notes "]
    assert await completed(completer, "ls no") == ["ls notes "]
    assert len(service.runs) == 1
    completer.reset()
    assert await completed(completer, "ls no") == ["ls notes "]
    assert len(service.runs) == 2


async def test_a_slow_answer_is_abandoned(
    completer: RemoteCompleter, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farhand_client.repl.completer.COMPLETION_TIMEOUT", 0.05)

    service.behave = stoppable
    assert await completed(completer, "ls n") == []
    await asyncio.wait_for(service.runs[0].until(m.Stop), 10)


async def test_typing_on_cancels_the_completion(completer: RemoteCompleter, service: FakeService) -> None:
    service.behave = stoppable
    completing = asyncio.ensure_future(completed(completer, "ls n"))
    await asyncio.wait_for(service.arrived.wait(), 10)
    completer.cancel()
    assert await asyncio.wait_for(completing, 10) == []


async def test_a_refused_query_offers_nothing(completer: RemoteCompleter, service: FakeService) -> None:
    service.connections[0].cut()
    assert await completed(completer, "ls n") == []


class TestBashCompletion:
    @pytest.fixture(autouse=True)
    def knowledge(self, home: Path, session: ReplSession) -> None:
        """What the remote host's bash-completion knows."""
        (home / "functions").write_text(
            "complete -W '--all --almost start stop' tool\n"
            "complete -F _described described; _described() { COMPREPLY=('get  (Show it)' 'set  (\x1b[2JChange it)'); }"
        )
        session.hosts.active[0].state.set_variable(b"BASH_COMPLETION", bytes(home / "functions"))

    async def test_options_are_answered_from_the_cache_also_after_lines_and_arguments_are_not(
        self, completer: RemoteCompleter, service: FakeService
    ) -> None:
        assert await completed(completer, "tool --al") == ["tool --all", "tool --almost"]
        assert await completed(completer, "tool sto") == ["tool stop "]
        assert len(service.runs) == 2
        completer.reset()
        assert await completed(completer, "tool --alm") == ["tool --almost "]
        assert len(service.runs) == 2
        assert await completed(completer, "tool sto") == ["tool stop "]
        assert len(service.runs) == 3

    async def test_other_words_before_are_another_question(
        self, completer: RemoteCompleter, service: FakeService
    ) -> None:
        await completed(completer, "tool s")
        await completed(completer, "tool start s")
        assert len(service.runs) == 2

    async def test_descriptions_are_shown_with_control_characters_escaped(self, completer: RemoteCompleter) -> None:
        found = completer.get_completions_async(Document("described "), CompleteEvent())
        assert [completion.display_meta_text async for completion in found] == ["Show it", "\\x1b[2JChange it"]

    async def test_a_command_whose_completion_takes_too_long_is_completed_with_names_of_files_from_then_on(
        self, completer: RemoteCompleter, service: FakeService, home: Path
    ) -> None:
        (home / "notes").touch()
        alone = service.behave
        service.behave = printing(b" notes\0", outcome=TimedOut(timeout=ARGUMENTS_TIMEOUT))
        assert await completed(completer, "hangs no") == ["hangs notes "]
        service.behave = alone
        assert await completed(completer, "hangs no") == ["hangs notes "]
        assert [run.request.timeout for run in service.runs] == [ARGUMENTS_TIMEOUT, COMPLETION_TIMEOUT]


class TestOwnCommands:
    async def test_commands_are_completed(self, completer: RemoteCompleter) -> None:
        assert await completed(completer, ":h") == [":help", ":host"]

    async def test_hosts_are_those_of_the_configuration_and_of_the_session(
        self, completer: RemoteCompleter, home: Path
    ) -> None:
        config = home / "config/farhand/config.toml"
        config.parent.mkdir(parents=True)
        config.write_text('[hosts.wiki]\naddress = "wiki.example"\n')
        assert await completed(completer, ":host w") == [":host web", ":host wiki"]
        assert await completed(completer, ":host +w") == [":host +web", ":host +wiki"]
        assert await completed(completer, ":host -w") == [":host -web"]

    async def test_variables_are_those_that_were_set(self, completer: RemoteCompleter, session: ReplSession) -> None:
        session.hosts.active[0].state.set_variable(b"A", b"1")
        assert await completed(completer, ":env ") == [":env -A", ":env A="]

    async def test_runs_are_the_jobs_and_the_kept_runs_of_the_account(
        self, completer: RemoteCompleter, session: ReplSession, service: FakeService
    ) -> None:
        jobs = session.hosts.active[0].jobs
        jobs.add(ID, "make &")
        service.answer = listing(
            info(OTHER, on_disconnect="keep"), info(ID, on_disconnect="keep"), info("0189" + ID[4:], owner="bob")
        )
        assert await completed(completer, ":kill 01") == [f":kill {ID[:13]}", f":kill {jobs.name(OTHER)}"]

    async def test_arguments_of_other_commands_are_not_completed(self, completer: RemoteCompleter) -> None:
        assert await completed(completer, ":jobs -") == []
