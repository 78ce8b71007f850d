"""`farhand attach` to a run on a terminal: its screen is shown here, and keys are sent unless another client types."""

from __future__ import annotations

import json

import pytest

from farhand_protocol import messages as m
from farhand_protocol.outcome import Exited
from tests.support.command import FARHAND, farhand
from tests.support.fake_listing import info, listing
from tests.support.fake_runs import ID
from tests.support.fake_service import FakeRun, FakeService
from tests.support.fake_terminals import FULL_SCREEN, begin
from tests.support.ptys import Pty

SCREEN = b"long ago " * 40_000 + FULL_SCREEN + b"\x1b[Hfirst\x1b[2J\x1b[Hthe second"


@pytest.fixture
def screen(service: FakeService) -> FakeService:
    """A service with a running editor, on a terminal of 100x30."""
    service.answer = listing(
        info(
            ID, stdout=len(SCREEN), stderr=0, stdin=5, terminal=m.WindowSize(columns=100, rows=30), on_disconnect="keep"
        )
    )
    service.behave = editing
    return service


async def editing(run: FakeRun) -> None:
    await begin(run)
    await run.write_rest("stdout", SCREEN)
    while b"q" not in run.stdin:
        if run.client.closed.is_set() or m.Close() in run.messages:
            return
        run.changed.clear()
        await run.changed.wait()
    run.ended(Exited(code=3))


async def test_the_screen_is_drawn_and_keys_are_sent(pty: Pty, screen: FakeService, env: dict[str, str]) -> None:
    before = pty.modes
    async with pty.running(*FARHAND, "attach", screen.host, ID[:8], env=env) as process:
        output = await pty.shows(b"the second")
        assert b"\x1b[?1049h" in output
        assert b"first" not in output
        assert output.count(b"long ago") < 100 * 30 / 9
        pty.type(b"q")
        assert await process.wait() == 3
        await pty.shows(b"\x1b[?1049l")
    attach = screen.runs[0].attach
    assert attach is not None
    assert (attach.stdout, attach.stderr, attach.stdin) == (len(SCREEN) - (256 << 10), None, 0)
    assert (attach.size, attach.share, attach.hold) == (m.WindowSize(columns=80, rows=24), False, True)
    assert pty.modes == before


@pytest.mark.parametrize("key", [b"\r~.", b"\r~d"])
async def test_leaving_by_a_key_leaves_the_run_running(
    key: bytes, pty: Pty, screen: FakeService, env: dict[str, str]
) -> None:
    async with pty.running(*FARHAND, "attach", screen.host, ID, env=env) as process:
        await pty.shows(b"the second")
        pty.type(key)
        assert await process.wait() == 0
        await pty.shows(f"left run {ID}, which keeps running; to return: farhand attach {screen.host} {ID}".encode())
    assert screen.runs[0].messages == [m.Close()]


@pytest.mark.parametrize("option", ["--read-only", "--no-stdin"])
async def test_a_read_only_terminal_sends_nothing_and_ctrl_c_leaves(
    option: str, pty: Pty, screen: FakeService, env: dict[str, str]
) -> None:
    async with pty.running(*FARHAND, "attach", option, screen.host, ID, env=env) as process:
        await pty.shows(b"the second")
        pty.type(b"q")
        await pty.shows(b"this terminal is read-only")
        pty.type(b"\x03")
        assert await process.wait() == 0
    attach = screen.runs[0].attach
    assert attach is not None
    assert (attach.stdin, attach.read_only, screen.runs[0].stdin) == (None, True, b"")


async def test_a_terminal_only_watches_if_another_client_has_the_input(
    pty: Pty, screen: FakeService, env: dict[str, str]
) -> None:
    async def taken(run: FakeRun) -> None:
        run.send(m.Started(pid=1, new=False, stdin=False))
        run.send(m.Resize(columns=100, rows=30))
        await run.write_rest("stdout", SCREEN)
        await run.until(m.Close)

    screen.behave = taken
    async with pty.running(*FARHAND, "attach", screen.host, ID, env=env) as process:
        await pty.shows(b"another client types here; this terminal is read-only")
        pty.type(b"q\x03")
        assert await process.wait() == 0
    assert screen.runs[0].stdin == b""


async def test_share_requests_shared_input(pty: Pty, screen: FakeService, env: dict[str, str]) -> None:
    async with pty.running(*FARHAND, "attach", "--share", screen.host, ID, env=env) as process:
        await pty.shows(b"the second")
        pty.type(b"q")
        assert await process.wait() == 3
    attach = screen.runs[0].attach
    assert attach is not None
    assert attach.share


@pytest.mark.parametrize("option", ["--read-only", "--no-stdin"])
async def test_share_cannot_be_combined_with_options_that_do_not_type(
    option: str, screen: FakeService, env: dict[str, str]
) -> None:
    done = await farhand("attach", "--share", option, screen.host, ID, env=env)
    assert done.code == 2
    assert b"--share is for typing" in done.stderr


async def test_an_ended_run_is_shown_with_its_last_screen(pty: Pty, screen: FakeService, env: dict[str, str]) -> None:
    async def over(run: FakeRun) -> None:
        run.started()
        run.send(m.Resize(columns=100, rows=30))
        await run.write_rest("stdout", SCREEN)
        run.ended(Exited(code=4))

    screen.behave = over
    size = m.WindowSize(columns=100, rows=30)
    screen.answer = listing(
        info(ID, stdout=len(SCREEN), stderr=0, terminal=size, outcome={"status": "exited", "code": 4})
    )
    before = pty.modes
    async with pty.running(*FARHAND, "attach", screen.host, ID, env=env) as process:
        await pty.shows(b"the second")
        assert await process.wait() == 4
    assert pty.modes == before


async def test_without_a_local_terminal_output_is_copied_unchanged(screen: FakeService, env: dict[str, str]) -> None:
    done = await farhand("attach", screen.host, ID, input=b"q", env=env)
    assert (done.code, done.stdout, done.stderr) == (3, SCREEN, b"")


async def test_json_is_printed_also_at_a_terminal(pty: Pty, screen: FakeService, env: dict[str, str]) -> None:
    async with pty.running(*FARHAND, "attach", "--json", screen.host, ID, env=env) as process:
        await pty.shows(b'"offset": 0')
        pty.type(b"q\n")
        assert await process.wait() == 3
        await pty.shows(b'"status": "exited"')


async def test_a_run_without_a_terminal_is_copied_as_streams(
    pty: Pty, service: FakeService, env: dict[str, str]
) -> None:
    async def plain(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", b"0123456789")
        run.ended(Exited(code=5))

    service.behave = plain
    service.answer = listing(info(ID))
    async with pty.running(*FARHAND, "attach", service.host, ID, env=env) as process:
        assert await process.wait() == 5
        await pty.shows(b"0123456789")
    attach = service.runs[0].attach
    assert attach is not None
    assert attach.size is None
    assert json.loads(attach.model_dump_json())["share"] is False
