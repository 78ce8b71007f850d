"""Which REPL runs, and the exit code with which the process ends."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable

import pytest

from farhand_client.cli.colon_transfer import parse_colon_transfer
from farhand_client.errors import FarhandError
from farhand_client.repl.commands import ExitRepl
from farhand_client.repl.main import is_attended, main
from tests.support.fake_service import FakeService
from tests.support.local_programs import connecting_to

SCRIPT = "farhand_client.repl.script.read_chunks"


@pytest.fixture
def run(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> Callable[[], asyncio.Future[int]]:
    monkeypatch.setattr("farhand_client.repl.main.is_attended", lambda: False)
    return lambda: asyncio.ensure_future(
        main("web", lambda name, ask_user: connecting_to(service), parse_transfer=parse_colon_transfer)
    )


def stdin(monkeypatch: pytest.MonkeyPatch, *chunks: bytes, error: OSError | None = None) -> None:
    async def read(fd: int) -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk
        if error is not None:
            raise error

    monkeypatch.setattr(SCRIPT, read)


@pytest.mark.parametrize(("script", "code"), [(b"exec sh -c 'exit 3'", 3), (b"exit 4\nnever", 4), (b"", 0)])
async def test_stdin_is_a_script_without_a_terminal(
    run: Callable[[], asyncio.Future[int]], monkeypatch: pytest.MonkeyPatch, script: bytes, code: int
) -> None:
    stdin(monkeypatch, script)
    assert await run() == code


async def test_a_failed_connection_is_raised(
    run: Callable[[], asyncio.Future[int]], monkeypatch: pytest.MonkeyPatch, service: FakeService
) -> None:
    stdin(monkeypatch)
    service.host = "unix:/nowhere/s"
    with pytest.raises(FarhandError):
        await run()


async def test_stdin_that_cannot_be_read_is_reported(
    run: Callable[[], asyncio.Future[int]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stdin(monkeypatch, error=OSError(5, "Input/output error"))
    assert await run() == 255
    assert capsys.readouterr().err == "farhand: cannot read stdin, or the terminal is gone: Input/output error\n"


async def test_a_signal_ends_the_repl_with_128_and_its_number(
    run: Callable[[], asyncio.Future[int]], monkeypatch: pytest.MonkeyPatch, service: FakeService
) -> None:
    stdin(monkeypatch, b"exec sleep 1000\n")
    code = run()
    await asyncio.wait_for(service.arrived.wait(), 10)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await code == 143


async def test_a_cancellation_that_no_signal_caused_is_raised(
    run: Callable[[], asyncio.Future[int]], monkeypatch: pytest.MonkeyPatch, service: FakeService
) -> None:
    stdin(monkeypatch, b"exec sleep 1000\n")
    code = run()
    await asyncio.wait_for(service.arrived.wait(), 10)
    code.cancel()
    with pytest.raises(asyncio.CancelledError):
        await code


async def test_a_prompt_is_shown_on_a_terminal(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda fd: True)
    assert is_attended()

    class Leaving:
        def __init__(self, first: str, *_: object, private: bool, parse_transfer: object) -> None:
            assert (first, private, parse_transfer) == ("web", True, parse_colon_transfer)

        async def run(self) -> None:
            raise ExitRepl(7)

    monkeypatch.setattr("farhand_client.repl.attended.AttendedRepl", Leaving)
    connected = connecting_to(service)
    assert await main("web", lambda *_: connected, private=True, parse_transfer=parse_colon_transfer) == 7
