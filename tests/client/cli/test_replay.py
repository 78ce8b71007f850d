"""`farhand replay` plays back a run's output, and restores the terminal."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from farhand_client.ui.exitcodes import EXIT_INTERRUPTED
from farhand_protocol import messages as m
from farhand_protocol.outcome import Exited
from tests.support.command import FARHAND, farhand, running
from tests.support.fake_listing import info
from tests.support.fake_recordings import output_of, recorded
from tests.support.fake_runs import ID
from tests.support.fake_service import FakeConnection, FakeService, accept_client
from tests.support.fake_terminals import FULL_SCREEN
from tests.support.ptys import Pty
from tests.support.tmux import TIMEOUT, Screen

ENDED = Exited(code=3)
SIZE = m.WindowSize(columns=80, rows=24)
ON_TERMINAL = info(outcome=ENDED, terminal=SIZE)
UNDONE = b"\x1b[?25h\x1b[?1000l\x1b[?2004l\x1b[?1049l"
FOREVER = 10_000_000


async def test_each_stream_is_played_on_its_own_descriptor(service: FakeService) -> None:
    service.behave = output_of(b"0123\xff\n", b"err\n")
    service.answer = recorded(
        info(outcome=ENDED), m.OutputMark(at=0, stdout=2), m.OutputMark(at=50, stdout=6, stderr=4)
    )
    done = await farhand("replay", service.host, ID[:13])
    assert (done.code, done.stdout, done.stderr) == (0, b"0123\xff\n", b"err\n")
    asked = service.runs[-1].attach
    assert asked is not None
    assert (asked.stdout, asked.stderr, asked.follow, asked.hold, asked.read_only) == (0, 0, False, False, True)


async def test_pauses_follow_speed_and_idle_limit(service: FakeService) -> None:
    service.behave = output_of(b"abc")
    marks = [m.OutputMark(at=at, stdout=number) for number, at in enumerate((0, 2000, FOREVER), 1)]
    service.answer = recorded(info(outcome=ENDED), *marks)
    times = []

    def greet(client: FakeConnection, message: m.AnyMessage) -> None:
        times.append(time.monotonic())
        accept_client(client, message)

    service.greet = greet
    async with running("replay", "--speed", "10", "--idle-limit", "3", service.host, ID) as process:
        assert process.stdout is not None
        while await process.stdout.read(1):
            times.append(time.monotonic())
    # Any byte may be read late on a busy machine; the player starts after the login.
    assert times[3] - times[0] >= 0.5
    assert times[3] - times[0] < 60


async def test_gaps_are_reported_and_take_no_time(service: FakeService) -> None:
    service.behave = output_of(b"forgotten, kept", dropped=11)
    marks = [m.OutputMark(at=FOREVER, stdout=10), m.OutputMark(at=2 * FOREVER, stdout=15)]
    service.answer = recorded(info(outcome=ENDED), *marks)
    done = await farhand("replay", service.host, ID)
    assert (done.code, done.stdout) == (0, b"kept")
    assert done.stderr == b"farhand: 11 bytes of stdout from offset 0 on are no longer kept\n"


async def test_a_running_run_is_played_up_to_now(service: FakeService) -> None:
    service.behave = output_of(b"so far", running=True)
    service.answer = recorded(info(), m.OutputMark(at=5, stdout=6))
    done = await farhand("replay", service.host, ID)
    assert (done.code, done.stdout) == (0, b"so far")
    assert done.stderr == f"farhand: run {ID} is still running; the recording ends here\n".encode()


async def test_a_closed_stdout_ends_the_replay_with_141(service: FakeService) -> None:
    service.behave = output_of(b"x" * 1_000_000)
    service.answer = recorded(info(outcome=ENDED))
    reading, writing = os.pipe()
    async with running("replay", service.host, ID, stdout=writing) as process:
        os.close(writing)
        await asyncio.to_thread(os.read, reading, 10)
        os.close(reading)
        _, stderr = await process.communicate()
        assert (process.returncode, stderr) == (141, b"")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
async def test_a_signal_ends_the_replay(service: FakeService, number: int, code: int) -> None:
    service.behave = output_of(b"ab")
    service.answer = recorded(info(outcome=ENDED), m.OutputMark(at=0, stdout=1), m.OutputMark(at=FOREVER, stdout=2))
    async with running("replay", service.host, ID) as process:
        assert process.stdout is not None
        assert await process.stdout.read(1) == b"a"
        process.send_signal(number)
        assert await process.communicate() == (b"", b"")
        assert process.returncode == code


@pytest.mark.parametrize(
    ("option", "number", "output"),
    [
        ("--speed", "0", b"'0' is not a speed"),
        ("--speed", "fast", b"'fast' is not a speed"),
        ("--idle-limit", "-1", b"must be seconds (90, 0.5) or a form"),
    ],
)
async def test_a_wrong_number_is_refused(service: FakeService, option: str, number: str, output: bytes) -> None:
    done = await farhand("replay", option, number, service.host, ID)
    assert done.code == 2
    assert option.encode() + b": " + output in done.stderr


class TestOnATerminal:
    async def test_the_recording_is_shown_as_it_was(self, service: FakeService, pty: Pty) -> None:
        before = pty.modes
        service.behave = output_of(FULL_SCREEN + b"bare\nnewline\x1b[?1049l\x1b[?25h\x1b[?2004l\x1b[?1000l")
        service.answer = recorded(ON_TERMINAL, m.OutputMark(at=0, size=SIZE))
        async with pty.running(*FARHAND, "replay", service.host, ID) as process:
            await pty.shows(FULL_SCREEN + b"bare\nnewline")
            assert await process.wait() == 0
        assert pty.modes == before

    @pytest.mark.parametrize(
        ("ends", "code"), [(b"\x03", EXIT_INTERRUPTED), (b"q", 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
    )
    async def test_the_terminal_is_restored_whatever_ends_the_replay(
        self, service: FakeService, pty: Pty, ends: bytes | int, code: int
    ) -> None:
        before = pty.modes
        service.behave = output_of(FULL_SCREEN + b"editing \x1b]0;ti" + b"tle\x07")
        marks = [
            m.OutputMark(at=0, size=SIZE),
            m.OutputMark(at=0, stdout=len(FULL_SCREEN) + 14),
            m.OutputMark(at=FOREVER, stdout=99),
        ]
        service.answer = recorded(ON_TERMINAL, *marks)
        async with pty.running(*FARHAND, "replay", service.host, ID) as process:
            await pty.shows(b"editing ")
            assert pty.raw
            if isinstance(ends, bytes):
                pty.type(ends)
            else:
                process.send_signal(ends)
            assert await process.wait() == code
        await pty.shows(b"\x18" + UNDONE)
        assert (pty.modes, pty.shown) == (before, b"")

    async def test_the_terminal_is_restored_after_sigkill(self, service: FakeService, pty: Pty) -> None:
        service.behave = output_of(FULL_SCREEN + b"editing" + b".")
        service.answer = recorded(
            ON_TERMINAL, m.OutputMark(at=0, stdout=len(FULL_SCREEN) + 7), m.OutputMark(at=FOREVER, stdout=99)
        )
        async with pty.running(*FARHAND, "replay", service.host, ID) as process:
            await pty.shows(b"editing")
            process.kill()
            await pty.shows(UNDONE)
            await pty.until_raw(False)

    async def test_space_pauses_and_resumes(self, service: FakeService, pty: Pty) -> None:
        service.behave = output_of(b"ab")
        service.answer = recorded(ON_TERMINAL, m.OutputMark(at=0, stdout=1), m.OutputMark(at=2000, stdout=2))
        async with pty.running(*FARHAND, "replay", service.host, ID) as process:
            await pty.shows(b"a")
            pty.type(b" ")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(process.wait())), 2.2)
            assert pty.shown == b""
            pty.type(b" ")
            await pty.shows(b"b")
            assert await process.wait() == 0

    async def test_answers_of_the_terminal_are_not_keys(self, service: FakeService, pty: Pty) -> None:
        service.behave = output_of(b"\x1bP$q q\x1b\\b")
        service.answer = recorded(ON_TERMINAL, m.OutputMark(at=0, stdout=8), m.OutputMark(at=300, stdout=9))
        async with pty.running(*FARHAND, "replay", service.host, ID) as process:
            await pty.shows(b"\x1bP$q q\x1b\\")
            pty.type(b"\x1bP1$r2 q\x1b\\")
            await pty.shows(b"b")
            assert await process.wait() == 0

    async def test_an_unfinished_row_is_ended(self, service: FakeService, pty: Pty) -> None:
        service.behave = output_of(b"$ \x1b[31mred")
        service.answer = recorded(ON_TERMINAL, m.OutputMark(at=0, size=SIZE))
        async with pty.running(*FARHAND, "replay", service.host, ID) as process:
            assert await process.wait() == 0
            await pty.shows(b"$ \x1b[31mred\x1b[m\r\n")

    async def test_a_terminal_that_is_too_small_is_reported(self, service: FakeService, pty: Pty) -> None:
        service.behave = output_of(b"x\r\n")
        service.answer = recorded(ON_TERMINAL, m.OutputMark(at=0, size=m.WindowSize(columns=81, rows=24)))
        async with pty.running(*FARHAND, "replay", service.host, ID) as process:
            await pty.shows(b"recorded on a terminal of 81x24, but this one has 80x24")
            assert await process.wait() == 0

    async def test_newlines_of_a_run_without_a_terminal_start_rows(self, service: FakeService, pty: Pty) -> None:
        service.behave = output_of(b"one\ntwo\n", b"err\n")
        service.answer = recorded(info(outcome=ENDED), m.OutputMark(at=0, stdout=8, stderr=4))
        async with pty.running(*FARHAND, "replay", service.host, ID) as process:
            assert await process.wait() == 0
            await pty.shows(b"err\r\n")

    async def test_stderr_can_be_redirected(self, service: FakeService, pty: Pty, tmp_path: Path) -> None:
        service.behave = output_of(b"one\n", b"err\n")
        service.answer = recorded(info(outcome=ENDED), m.OutputMark(at=0, stdout=4, stderr=4))
        errors = tmp_path / "errors"
        script = f'exec "$0" "$@" 2>{errors}'
        async with pty.running("sh", "-c", script, *FARHAND, "replay", service.host, ID) as process:
            assert await process.wait() == 0
            await pty.shows(b"one\r\n")
        assert (pty.shown, errors.read_bytes()) == (b"", b"err\n")

    @pytest.mark.needs("tmux", "bash")
    async def test_the_replay_can_be_suspended_and_resumed(self, service: FakeService, screen: Screen) -> None:
        first = FULL_SCREEN + b"\x1b[2J\x1b[5;10Hediting"
        service.behave = output_of(first + b".")
        service.answer = recorded(
            ON_TERMINAL,
            m.OutputMark(at=0, size=SIZE, stdout=len(first)),
            m.OutputMark(at=FOREVER, stdout=len(first) + 1),
        )
        screen.tmux("new-session", "-d", "-x", "80", "-y", "24", "exec env PS1='> ' bash --norc --noprofile")
        await screen.shows(">")
        screen.type(shlex.join([*FARHAND, "replay", service.host, ID]), "Enter")
        await screen.matches("^         editing$")
        await has_flags(screen, "1 0")
        screen.type("", "C-z")
        await screen.matches("Stopped")
        await has_flags(screen, "0 1")
        assert "editing" not in screen.text
        screen.type("fg", "Enter")
        await screen.matches("^         editing$")
        await has_flags(screen, "1 0")
        screen.type("", "C-c")
        await screen.shows(">")
        screen.type("echo $?", "Enter")
        await screen.shows("130\n>")
        await has_flags(screen, "0 1")
        assert "editing" not in screen.text


async def has_flags(screen: Screen, flags: str) -> None:
    """Wait until the alternate screen and the cursor are shown or not: text and flags may come in several writes."""
    async with asyncio.timeout(TIMEOUT):
        while screen.tmux("display-message", "-p", "#{alternate_on} #{cursor_flag}").strip() != flags:  # noqa: ASYNC110  # tmux sends no notification
            await asyncio.sleep(0.02)


@pytest.fixture
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    """A terminal emulator: tmux."""
    made = Screen(tmp_path_factory.mktemp("tmux") / "socket")
    yield made
    made.tmux("kill-server")
