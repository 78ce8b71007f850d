"""`farhand shell`: its request, its messages, and what happens to the shell for each way of leaving."""

from __future__ import annotations

from pathlib import Path

import pytest

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from tests.support.command import farhand
from tests.support.fake_listing import info, listing
from tests.support.fake_service import FakeRun, FakeService, refusing
from tests.support.fake_terminals import echo, running_shell
from tests.support.ptys import Pty

RUN_ID = "01890000-0000-7000-8000-000000000000"


class TestRequest:
    async def test_a_login_shell_on_a_terminal_like_the_local_one_is_requested(
        self, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        pty.resize(132, 50)
        env |= {"LANG": "de_DE.UTF-8", "LC_TIME": "C", "SECRET": "x"}
        async with running_shell(pty, service, env) as process:
            await pty.shows(b"ready ")
            pty.type(b"q")
            assert await process.wait() == 3
        request = service.runs[0].request
        assert request.login
        assert request.terminal is not None
        assert request.terminal.name == "xterm-256color"
        assert request.terminal.size == m.WindowSize(columns=132, rows=50)
        assert dict(request.terminal.modes)["ICANON"] == 1
        assert dict(request.env) == {b"LANG": b"de_DE.UTF-8", b"LC_TIME": b"C"}
        assert (request.on_disconnect, request.grace, request.record_input) == ("kill", None, False)

    async def test_options_appear_in_the_request_for_a_shell(
        self, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        options = ["--keep", "8h", "--cwd", "/srv", "--env", "A=1", "--id", RUN_ID, "--record-input", "-e", "%"]
        async with running_shell(pty, service, env, *options) as process:
            await pty.shows(b"ready ")
            pty.type(b"~.q\r%?")
            await pty.shows(b"%. leaves")
            assert await process.wait() == 3
        request = service.runs[0].request
        assert (request.grace, request.cwd, request.env) == (28800.0, b"/srv", ((b"A", b"1"),))
        assert (request.id, request.record_input) == (RUN_ID, True)

    async def test_the_default_host_comes_from_the_configuration(
        self, pty: Pty, service: FakeService, env: dict[str, str], tmp_path: Path
    ) -> None:
        config = tmp_path / "config/farhand/config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(f'default_host = "web"\n[hosts.web]\naddress = "{service.host}"\n')
        async with running_shell(pty, service, env, host="") as process:
            await pty.shows(b"ready ")
            pty.type(b"q")
            assert await process.wait() == 3

    async def test_a_missing_host_without_a_default_is_reported(
        self, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        async with running_shell(pty, service, env, host="") as process:
            assert await process.wait() == 2
            await pty.shows(b"HOST is missing; to make HOST optional, set default_host")

    async def test_a_command_after_the_host_is_refused_with_a_hint(
        self, service: FakeService, env: dict[str, str]
    ) -> None:
        done = await farhand("shell", service.host, "ls", "-l", env=env)
        assert (done.code, done.stdout) == (2, b"")
        assert b"unexpected 'ls' after HOST; to run a command, use farhand run -t HOST -- ARG" in done.stderr

    async def test_without_a_terminal_alternatives_are_named(self, service: FakeService, env: dict[str, str]) -> None:
        done = await farhand("shell", service.host, env=env)
        assert (done.code, done.stdout) == (2, b"")
        assert (
            b"a shell needs a terminal, but stdin is not one; to run a script, use farhand run --shell" in done.stderr
        )

    @pytest.mark.parametrize("name", ["../../x", "a b", "x" * 65])
    async def test_a_wrong_terminal_name_is_refused_locally(
        self, name: str, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        async with running_shell(pty, service, env | {"TERM": name}) as process:
            assert await process.wait() == 2
            await pty.shows(b"which is not the name of a terminal")
        assert service.runs == []

    async def test_a_terminal_without_a_name_is_dumb(self, pty: Pty, service: FakeService, env: dict[str, str]) -> None:
        del env["TERM"]
        async with running_shell(pty, service, env) as process:
            await pty.shows(b"ready ")
            pty.type(b"q")
            await process.wait()
        assert service.runs[0].request.terminal is not None
        assert service.runs[0].request.terminal.name == "dumb"

    async def test_a_refusal_is_printed_and_the_terminal_is_untouched(
        self, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        before = pty.modes
        service.behave = refusing(ErrorCode.DENIED, "the policy lets ann have no terminal")
        async with running_shell(pty, service, env) as process:
            assert await process.wait() == 255
            await pty.shows(b"farhand: the policy lets ann have no terminal\r\n")
        assert pty.modes == before

    async def test_an_existing_id_shows_the_screen_of_that_shell(
        self, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        async def behave(run: FakeRun) -> None:
            if run.attach is None:
                run.started(new=False)
                await run.until(m.Close)
            else:
                await echo(run)

        service.behave = behave
        service.answer = listing(info(RUN_ID, stdout=0, stdin=0, terminal=m.WindowSize(columns=80, rows=24)))
        async with running_shell(pty, service, env, "--id", RUN_ID) as process:
            await pty.shows(b"ready ")
            pty.type(b"q")
            assert await process.wait() == 3
        attach = service.runs[1].attach
        assert attach is not None
        assert (attach.id, attach.size) == (RUN_ID, m.WindowSize(columns=80, rows=24))
