"""A run on the user's terminal: what is shown during an outage, and what becomes of the run however the user leaves."""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path

import pytest

from farhand_protocol import messages as m
from farhand_protocol.limits import MiB
from farhand_protocol.outcome import Killed, Signaled
from tests.support.fake_service import FakeRun, FakeService
from tests.support.fake_terminals import FULL_SCREEN, begin, editor, running_shell
from tests.support.ptys import Pty


class TestLeaving:
    async def test_the_shells_exit_code_is_returned(self, pty: Pty, service: FakeService, env: dict[str, str]) -> None:
        before = pty.modes
        async with running_shell(pty, service, env) as process:
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
    async def test_another_outcome_is_reported(
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
        async with running_shell(pty, service, env) as process:
            assert await process.wait() == code
            await pty.shows(b"\x1b[?1049l")
            await pty.shows(words)

    async def test_leaving_stops_the_shell(self, pty: Pty, service: FakeService, env: dict[str, str]) -> None:
        before = pty.modes
        async with running_shell(pty, service, env) as process:
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
    async def test_detaching_prints_how_long_the_shell_is_kept_and_how_to_return(
        self, options: tuple[str, ...], words: bytes, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        async with running_shell(pty, service, env, *options) as process:
            await pty.shows(b"ready ")
            pty.type(b"\r~d")
            assert await process.wait() == 0
            run_id = service.runs[0].request.id
            await pty.shows(
                b"which keeps running " + words + f"; to return: farhand attach {service.host} {run_id}\r\n".encode()
            )
        assert service.runs[0].messages == [m.Close()]

    @pytest.mark.parametrize("key", [b"~.", b"~d"])
    async def test_leaving_works_while_the_service_is_suspended(
        self, key: bytes, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        async with running_shell(pty, service, env) as process:
            await pty.shows(b"ready ")
            service.connections[0].fall_silent()
            await pty.paste(b"x" * MiB)
            # Keepalive would need three intervals of 5 s to free it.
            async with asyncio.timeout(10):
                await pty.paste(b"\r" + key)
                await pty.shows(b"farhand: left")
                await process.wait()

    async def test_leaving_works_during_an_outage(
        self, pty: Pty, service: FakeService, env: dict[str, str], tmp_path: Path
    ) -> None:
        async with running_shell(pty, service, env) as process:
            await pty.shows(b"ready ")
            (tmp_path / "fake.sock").unlink()
            service.connections[0].cut()
            await pty.shows(b"lost; reconnecting (for up to 24 h); Enter ~d detaches")
            pty.type(b"\r~.")
            await pty.shows(b"left, but the service cannot be notified: run ")
            assert await process.wait() == 255

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
    async def test_a_signal_leaves_the_shell_running(
        self, number: signal.Signals, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        before = pty.modes
        service.behave = editor
        async with running_shell(pty, service, env) as process:
            await pty.shows(b"editing")
            process.send_signal(number)
            assert await process.wait() == 128 + number
            await pty.shows(b"\x1b[?1049l")
            await pty.shows(b"farhand attach")
        assert service.runs[0].messages == [m.Close()]
        assert pty.modes == before

    async def test_a_closed_window_leaves_the_run_running(
        self, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        async with running_shell(pty, service, env) as process:
            await pty.shows(b"ready ")
            pty.hang_up()
            assert await process.wait() == 129
        assert service.runs[0].messages == [m.Close()]

    async def test_the_terminal_is_restored_after_the_client_was_killed(
        self, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        before = pty.modes
        service.behave = editor
        async with running_shell(pty, service, env) as process:
            await pty.shows(b"editing")
            assert pty.raw
            process.kill()
            await process.wait()
            output = await pty.shows(b"\x1b[?1049l")
            await pty.until_raw(False)
        assert b"\x1b[?25h" in output + pty.shown
        assert b"\x1b[?1000l" in output + pty.shown
        assert pty.modes == before

    async def test_ctrl_c_before_the_shell_has_started_leaves(
        self, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        async def never(run: FakeRun) -> None:
            await run.lost()

        service.behave = never
        async with running_shell(pty, service, env) as process:
            await service.arrived.wait()
            pty.type(b"\x03")
            assert await process.wait() == 130


class TestOutages:
    async def test_an_outage_is_shown_on_one_row_until_it_is_over(
        self, pty: Pty, service: FakeService, env: dict[str, str], tmp_path: Path
    ) -> None:
        async with running_shell(pty, service, env) as process:
            await pty.shows(b"ready ")
            (tmp_path / "fake.sock").rename(tmp_path / "away")
            service.connections[0].cut()
            output = await pty.shows(b"lost; reconnecting (for up to 24 h)")
            assert b"\x1b]2;connection to unix:" in output
            pty.type(b"typed meanwhile")
            (tmp_path / "away").rename(tmp_path / "fake.sock")
            await pty.shows(b"\x1b[2K")  # the row, which is empty in what the program has written
            await pty.shows(b"<typed meanwhile>")
            pty.type(b"q")
            assert await process.wait() == 3

    async def test_a_permanent_loss_is_reported_on_a_restored_terminal(
        self, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        before = pty.modes
        async with running_shell(pty, service, env, "--reconnect", "0") as process:
            await pty.shows(b"ready ")
            service.connections[0].cut()
            assert await process.wait() == 255
            output = await pty.shows(b"farhand attach")
            assert re.search(rb"\r\nfarhand: the connection to .* (was closed|failed)", output)
        assert pty.modes == before

    async def test_a_stopping_service_announces_the_time_left(
        self, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        async with running_shell(pty, service, env) as process:
            await pty.shows(b"ready ")
            service.connections[0].send(m.GoingAway(grace=10))
            await pty.shows(b"the service is stopping; it ends this run in 10 seconds")
            pty.type(b"q")
            assert await process.wait() == 3

    async def test_a_silent_service_is_reported_before_the_connection_counts_as_lost(
        self, pty: Pty, service: FakeService, env: dict[str, str]
    ) -> None:
        async with running_shell(pty, service, env) as process:
            await pty.shows(b"ready ")
            service.connections[0].fall_silent()
            pty.type(b"x\r")
            await pty.shows(b"the service does not answer")
            pty.type(b"~.")
            assert await process.wait() == 255
