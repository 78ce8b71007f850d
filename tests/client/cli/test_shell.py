"""`farhand shell`: what it asks for, what it says, and what becomes of the shell on every way out."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.limits import MiB
from farhand_protocol.outcome import Killed, Signaled
from tests.support.command import FARHAND, farhand
from tests.support.fake_listing import info, listing
from tests.support.fake_service import FakeRun, FakeService, refusing
from tests.support.fake_terminals import FULL_SCREEN, begin, echo, editor
from tests.support.ptys import Pty, terminal
from tests.support.service import environment


@pytest.fixture
async def pty() -> AsyncIterator[Pty]:
    async with terminal() as made:
        yield made


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Of a person with an ordinary terminal."""
    kept = {name: value for name, value in environment(tmp_path).items() if not name.startswith(("LC_", "LANG"))}
    return kept | {"TERM": "xterm-256color"}


@contextlib.asynccontextmanager
async def shell(
    pty: Pty, service: FakeService, env: dict[str, str], *options: str, host: str | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    service.behave = echo if service.behave.__name__ == "succeed" else service.behave
    hosts = [service.host if host is None else host] if host != "" else []
    async with pty.running(*FARHAND, "shell", *options, *hosts, env=env) as process:
        yield process


RUN_ID = "01890000-0000-7000-8000-000000000000"


class TestRequest:
    async def test_it_asks_for_a_login_shell_on_a_terminal_like_this(
        self, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        pty.resize(132, 50)
        env |= {"LANG": "de_DE.UTF-8", "LC_TIME": "C", "SECRET": "x"}
        async with shell(pty, service, env) as process:
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

    async def test_options(self, pty: Pty, service: FakeService, env: dict[str, str]) -> None:
        options = ["--keep", "8h", "--cwd", "/srv", "--env", "A=1", "--id", RUN_ID, "--record-input", "-e", "%"]
        async with shell(pty, service, env, *options) as process:
            await pty.shows(b"ready ")
            pty.type(b"~.q\r%?")
            await pty.shows(b"%. leaves")
            assert await process.wait() == 3
        request = service.runs[0].request
        assert (request.grace, request.cwd, request.env) == (28800.0, b"/srv", ((b"A", b"1"),))
        assert (request.id, request.record_input) == (RUN_ID, True)

    async def test_the_default_host_is_that_of_the_configuration(
        self, pty: Pty, service: FakeService, env: dict[str, str], tmp_path: Path
    ) -> None:
        config = tmp_path / "config/farhand/config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(f'default_host = "web"\n[hosts.web]\naddress = "{service.host}"\n')
        async with shell(pty, service, env, host="") as process:
            await pty.shows(b"ready ")
            pty.type(b"q")
            assert await process.wait() == 3

    async def test_without_a_host_and_a_default_it_says_so(
        self, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        async with shell(pty, service, env, host="") as process:
            assert await process.wait() == 2
            await pty.shows(b"HOST is missing, and config.toml has no default_host")

    async def test_a_command_behind_the_host_is_refused_with_what_runs_one(
        self, service: FakeService, env: dict[str, str]
    ) -> None:
        done = await farhand("shell", service.host, "ls", "-l", env=env)
        assert (done.code, done.stdout) == (2, b"")
        assert b"unexpected 'ls' after HOST; to run a command, use farhand run -t HOST -- ARG" in done.stderr

    async def test_without_a_terminal_it_says_what_to_do(self, service: FakeService, env: dict[str, str]) -> None:
        done = await farhand("shell", service.host, env=env)
        assert (done.code, done.stdout) == (2, b"")
        assert (
            b"a shell needs a terminal, but stdin is not one; to run a script, use farhand run --shell" in done.stderr
        )

    @pytest.mark.parametrize("name", ["../../x", "a b", "x" * 65])
    async def test_a_wrong_name_of_a_terminal_goes_nowhere(
        self, name: str, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        async with shell(pty, service, env | {"TERM": name}) as process:
            assert await process.wait() == 2
            await pty.shows(b"which is not the name of a terminal")
        assert service.runs == []

    async def test_a_terminal_without_a_name_can_do_nothing(
        self, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        del env["TERM"]
        async with shell(pty, service, env) as process:
            await pty.shows(b"ready ")
            pty.type(b"q")
            await process.wait()
        assert service.runs[0].request.terminal is not None
        assert service.runs[0].request.terminal.name == "dumb"

    async def test_a_refusal_is_said_on_a_terminal_that_was_left_alone(
        self, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        before = pty.modes
        service.behave = refusing(ErrorCode.DENIED, "the policy lets ann have no terminal")
        async with shell(pty, service, env) as process:
            assert await process.wait() == 255
            await pty.shows(b"farhand: the policy lets ann have no terminal\r\n")
        assert pty.modes == before

    async def test_an_id_of_before_is_the_same_shell_shown_from_its_screen(
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
        async with shell(pty, service, env, "--id", RUN_ID) as process:
            await pty.shows(b"ready ")
            pty.type(b"q")
            assert await process.wait() == 3
        attach = service.runs[1].attach
        assert attach is not None
        assert (attach.id, attach.size) == (RUN_ID, m.WindowSize(columns=80, rows=24))


class TestWaysOut:
    async def test_the_end_of_the_shell_is_ours(self, pty: Pty, service: FakeService, env: dict[str, str]) -> None:
        before = pty.modes
        async with shell(pty, service, env) as process:
            await pty.shows(b"ready ")
            pty.type(b"q")
            assert await process.wait() == 3
            await pty.shows(b"<q>")
        assert pty.shown == b""
        assert pty.modes == before

    @pytest.mark.parametrize(
        ("outcome", "code", "words"),
        [
            (Signaled(signal=9), 137, b"SIGKILL"),
            (Killed(reason="requested", signal=15), 143, b"was stopped on request"),
        ],
    )
    async def test_another_end_is_said(
        self,
        outcome: Signaled | Killed,
        code: int,
        words: bytes,
        pty: Pty,
        service: FakeService,
        env: dict[str, str],
    ) -> None:
        async def behave(run: FakeRun) -> None:
            await begin(run)
            await run.write("stdout", FULL_SCREEN + b"editing")
            run.ended(outcome)

        service.behave = behave
        async with shell(pty, service, env) as process:
            assert await process.wait() == code
            await pty.shows(b"\x1b[?1049l")
            await pty.shows(words)

    async def test_leaving_stops_it(self, pty: Pty, service: FakeService, env: dict[str, str]) -> None:
        before = pty.modes
        async with shell(pty, service, env) as process:
            await pty.shows(b"ready ")
            pty.type(b"x\r~.")
            assert await process.wait() == 255
            await pty.shows(f"\r\nfarhand: left; the service stops run {service.runs[0].request.id}\r\n".encode())
        assert [type(message) for message in service.runs[0].messages] == [m.Stop, m.Close]
        assert pty.modes == before

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (
                (),
                b"for as long as the service keeps a terminal (one day unless configured otherwise)",
            ),
            (("--keep", "8h"), b"for 8 h"),
        ],
    )
    async def test_detaching_says_for_how_long_and_how_to_come_back(
        self, options: tuple[str, ...], words: bytes, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        async with shell(pty, service, env, *options) as process:
            await pty.shows(b"ready ")
            pty.type(b"\r~d")
            assert await process.wait() == 0
            run_id = service.runs[0].request.id
            await pty.shows(
                b"which keeps running " + words + f"; to return: farhand attach {service.host} {run_id}\r\n".encode()
            )
        assert service.runs[0].messages == [m.Close()]

    @pytest.mark.parametrize("key", [b"~.", b"~d"])
    async def test_it_is_left_at_once_while_the_service_is_stopped(
        self, key: bytes, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        async with shell(pty, service, env) as process:
            await pty.shows(b"ready ")
            service.connections[0].fall_silent()
            await pty.paste(b"x" * MiB)
            began = time.monotonic()
            await pty.paste(b"\r" + key)
            await pty.shows(b"farhand: left")
            await process.wait()
            assert time.monotonic() - began < 2  # some of which is another process's, and another test's

    async def test_it_is_left_at_once_while_the_line_is_down(
        self, pty: Pty, service: FakeService, env: dict[str, str], tmp_path: Path
    ) -> None:
        async with shell(pty, service, env) as process:
            await pty.shows(b"ready ")
            (tmp_path / "fake.sock").unlink()
            service.connections[0].cut()
            await pty.shows(b"lost; reconnecting (for up to 24 h); Enter ~d detaches")
            pty.type(b"\r~.")
            await pty.shows(b"left, but the service cannot be notified: run ")
            assert await process.wait() == 255

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
    async def test_a_signal_leaves_it_going(
        self, number: signal.Signals, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        before = pty.modes
        service.behave = editor
        async with shell(pty, service, env) as process:
            await pty.shows(b"editing")
            process.send_signal(number)
            assert await process.wait() == 128 + number
            await pty.shows(b"\x1b[?1049l")
            await pty.shows(b"farhand attach")
        assert service.runs[0].messages == [m.Close()]
        assert pty.modes == before

    async def test_a_closed_window_leaves_it_going(self, pty: Pty, service: FakeService, env: dict[str, str]) -> None:
        async with shell(pty, service, env) as process:
            await pty.shows(b"ready ")
            pty.hang_up()
            assert await process.wait() == 129
        assert service.runs[0].messages == [m.Close()]

    async def test_a_killed_client_leaves_a_terminal_that_needs_no_reset(
        self, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        before = pty.modes
        service.behave = editor
        async with shell(pty, service, env) as process:
            await pty.shows(b"editing")
            assert pty.raw
            process.kill()
            await process.wait()
            said = await pty.shows(b"\x1b[?1049l")
            await pty.until_raw(False)
        assert b"\x1b[?25h" in said + pty.shown
        assert b"\x1b[?1000l" in said + pty.shown
        assert pty.modes == before

    async def test_ctrl_c_before_there_is_a_shell_leaves(
        self, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        async def never(run: FakeRun) -> None:
            await run.lost()

        service.behave = never
        async with shell(pty, service, env) as process:
            await service.came.wait()
            pty.type(b"\x03")
            assert await process.wait() == 130


class TestLine:
    async def test_a_lost_line_is_said_on_one_line_that_goes_away(
        self, pty: Pty, service: FakeService, env: dict[str, str], tmp_path: Path
    ) -> None:
        async with shell(pty, service, env) as process:
            await pty.shows(b"ready ")
            (tmp_path / "fake.sock").rename(tmp_path / "away")
            service.connections[0].cut()
            said = await pty.shows(b"lost; reconnecting (for up to 24 h)")
            assert b"\x1b]2;connection to unix:" in said
            pty.type(b"typed meanwhile")
            (tmp_path / "away").rename(tmp_path / "fake.sock")
            await pty.shows(b"\x1b[2K")  # the row, which is empty in what the program has written
            await pty.shows(b"<typed meanwhile>")
            pty.type(b"q")
            assert await process.wait() == 3

    async def test_a_line_that_is_lost_for_good_is_said_on_a_terminal_as_before(
        self, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        before = pty.modes
        async with shell(pty, service, env, "--reconnect", "0") as process:
            await pty.shows(b"ready ")
            service.connections[0].cut()
            assert await process.wait() == 255
            said = await pty.shows(b"farhand attach")
            assert re.search(rb"\r\nfarhand: the connection to .* was ended", said)
        assert pty.modes == before

    async def test_a_service_that_stops_says_how_long_there_is(
        self, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        async with shell(pty, service, env) as process:
            await pty.shows(b"ready ")
            service.connections[0].say(m.GoingAway(grace=10))
            await pty.shows(b"the service is stopping; it ends this run in 10 seconds")
            pty.type(b"q")
            assert await process.wait() == 3

    async def test_a_service_that_does_not_answer_is_said_before_the_line_counts_as_lost(
        self, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        async with shell(pty, service, env) as process:
            await pty.shows(b"ready ")
            service.connections[0].fall_silent()
            pty.type(b"x\r")
            await pty.shows(b"the service does not answer")
            pty.type(b"~.")
            assert await process.wait() == 255
