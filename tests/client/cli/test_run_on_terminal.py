"""`farhand run -t`: the command gets a terminal, with or without a local one."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from farhand_protocol import messages as m
from farhand_protocol.outcome import Killed
from tests.support.command import FARHAND, farhand
from tests.support.fake_runs import ID
from tests.support.fake_service import FakeRun, FakeService
from tests.support.fake_terminals import begin, echo, editor
from tests.support.ptys import Pty
from tests.support.service import environment


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """The environment of a user with an ordinary terminal."""
    kept = {name: value for name, value in environment(tmp_path).items() if not name.startswith("LC_")}
    return kept | {"TERM": "xterm", "LANG": "C.UTF-8"}


class TestOnATerminal:
    async def test_keys_reach_the_command_and_its_exit_code_is_returned(
        self, pty: Pty, service: FakeService, env: dict[str, str], tmp_path: Path
    ) -> None:
        service.behave = echo
        status = tmp_path / "status"
        options = ["-t", "--cwd", "/srv", "-e", "A=1", "--status-json", str(status)]
        async with pty.running(*FARHAND, "run", *options, service.host, "vim", "-t", env=env) as process:
            await pty.shows(b"ready ")
            pty.type(b"\x03\rq")
            assert await process.wait() == 3
            await pty.shows(b"<\x03")
        request = service.runs[0].request
        assert request.argv == (b"vim", b"-t")
        assert request.terminal is not None
        assert (request.terminal.name, request.terminal.size) == ("xterm", m.WindowSize(columns=80, rows=24))
        assert (request.cwd, dict(request.env)) == (b"/srv", {b"A": b"1", b"LANG": b"C.UTF-8"})
        assert (json.loads(status.read_text())["status"], request.kill_after) == ("exited", 5.0)

    async def test_sigterm_stops_the_run_as_without_a_terminal(
        self, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        async def behave(run: FakeRun) -> None:
            await begin(run)
            await run.write("stdout", b"ready")
            await run.until(m.Stop)
            run.ended(Killed(reason="requested", signal=15))

        before = pty.modes
        service.behave = behave
        async with pty.running(*FARHAND, "run", "-t", service.host, "vim", env=env) as process:
            await pty.shows(b"ready")
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 143
        assert pty.modes == before

    async def test_a_closed_window_leaves_the_run_running(
        self, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        service.behave = editor
        async with pty.running(*FARHAND, "run", "-t", service.host, "vim", env=env) as process:
            await pty.shows(b"editing")
            process.send_signal(signal.SIGHUP)
            assert await process.wait() == 129
        assert service.runs[0].messages == [m.Close()]

    async def test_leaving_by_a_key_is_in_the_status(
        self, pty: Pty, service: FakeService, env: dict[str, str], tmp_path: Path
    ) -> None:
        service.behave = echo
        status = tmp_path / "status"
        for key, code, word in ((b"~d", 0, "detached"), (b"~.", 255, "failed")):
            options = ["-t", "--status-json", str(status)]
            async with pty.running(*FARHAND, "run", *options, service.host, "vim", env=env) as process:
                await pty.shows(b"ready ")
                pty.type(key)
                assert await process.wait() == code
            assert json.loads(status.read_text())["status"] == word


class TestWithoutATerminal:
    async def test_without_a_local_terminal_the_command_gets_80x24(
        self, service: FakeService, env: dict[str, str]
    ) -> None:
        async def behave(run: FakeRun) -> None:
            await begin(run)
            await run.until(m.End)
            await run.write("stdout", b"\x1b[1mbold\r\n")
            run.ended()

        service.behave = behave
        done = await farhand("run", "-t", service.host, "ls", env=env)
        assert (done.code, done.stdout, done.stderr) == (0, b"\x1b[1mbold\r\n", b"")
        terminal = service.runs[0].request.terminal
        assert terminal is not None
        assert (terminal.name, terminal.size, terminal.modes) == ("xterm", m.WindowSize(columns=80, rows=24), ())

    async def test_size_and_input_can_be_given(self, service: FakeService, env: dict[str, str]) -> None:
        async def behave(run: FakeRun) -> None:
            await begin(run)
            await run.until(m.End)
            await run.write("stdout", bytes(run.stdin))
            run.ended()

        service.behave = behave
        del env["TERM"]
        done = await farhand("run", "-ti", "--size", "132x50", service.host, "cat", input=b"typed\n~.\n", env=env)
        assert (done.code, done.stdout, done.stderr) == (0, b"typed\n~.\n", b"")
        terminal = service.runs[0].request.terminal
        assert terminal is not None
        assert (terminal.name, terminal.size) == ("dumb", m.WindowSize(columns=132, rows=50))

    async def test_a_detached_command_can_have_a_terminal(
        self, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        service.behave = editor
        options = ["-t", "--detach", "--size", "100x40", "--id", ID]
        async with pty.running(*FARHAND, "run", *options, service.host, "vim", env=env) as process:
            await pty.shows(ID.encode())
            assert await process.wait() == 0
        request = service.runs[0].request
        assert request.terminal is not None
        assert request.terminal.size == m.WindowSize(columns=100, rows=40)
        assert (request.on_disconnect, request.spool) == ("keep", 64 << 20)

    @pytest.mark.parametrize("options", [["-t", "-T"], ["-T"], []])
    async def test_without_t_or_with_a_later_capital_t_there_is_no_terminal(
        self, options: list[str], pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        async with pty.running(*FARHAND, "run", *options, service.host, "ls", env=env) as process:
            assert await process.wait() == 0
        assert (service.runs[0].request.terminal, service.runs[0].request.env) == (None, ())

    @pytest.mark.parametrize("options", [["--size", "1x1"], ["--record-input"]])
    async def test_terminal_options_require_t(
        self, options: list[str], service: FakeService, env: dict[str, str]
    ) -> None:
        done = await farhand("run", *options, service.host, "ls", env=env)
        assert done.code == 2
        assert b"are for a command on a terminal; add -t" in done.stderr

    @pytest.mark.parametrize("size", ["80", "80x", "x24", "0x24", "80x0", "65536x1", "80X24", "1e1x3", "-1x24"])
    async def test_a_wrong_terminal_size_is_refused(self, size: str, service: FakeService, env: dict[str, str]) -> None:
        done = await farhand("run", "-t", f"--size={size}", service.host, "ls", env=env)
        assert done.code == 2
        assert b"is not a terminal size; use a form like 80x24 (columns, rows)" in done.stderr
