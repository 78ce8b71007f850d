"""`farhand web` prints where the page is, serves it until it is ended, and says what keeps it from doing so."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support import warm
from tests.support.fake_service import FakeService
from tests.support.ptys import Pty
from tests.support.service import environment
from tests.support.warm import FARHAND

TIMEOUT = 30.0

URL = re.compile(rb"http://127\.0\.0\.1:(\d+)/open\?invitation=[\w-]{43}\r?\n")


@asynccontextmanager
async def running(tmp_path: Path, *arguments: str, **env: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await warm.start(
        *FARHAND,
        "web",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**environment(tmp_path), **env},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def failed(tmp_path: Path, *arguments: str) -> tuple[int | None, str]:
    async with running(tmp_path, *arguments) as process:
        out, error = await asyncio.wait_for(process.communicate(), TIMEOUT)
        assert not out
        return process.returncode, error.decode()


async def status(port: int, path: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    line = await asyncio.wait_for(reader.readline(), TIMEOUT)
    await reader.read()
    writer.close()
    return int(line.split()[1])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
async def test_it_serves_until_a_signal_ends_it(
    service: FakeService, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    async with running(tmp_path, service.host) as process:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), TIMEOUT)
        found = URL.fullmatch(line)
        assert found is not None, line
        port = int(found[1])
        path = line.decode().strip().partition(f":{port}")[2]
        assert await status(port, "/") == 401
        assert await status(port, path) == 303
        assert await status(port, path) == 401
        process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), TIMEOUT) == code
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await asyncio.open_connection("127.0.0.1", port)


async def test_only_this_machine_reaches_it(service: FakeService, tmp_path: Path) -> None:
    async with running(tmp_path, service.host) as process:
        assert process.stdout is not None
        found = URL.fullmatch(await asyncio.wait_for(process.stdout.readline(), TIMEOUT))
        assert found is not None
        listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
        port = f"{int(found[1]):04X}"
        addresses = re.findall(rf"^\s*\d+: (\w+):{port} \w+:\w+ 0A", listening, re.MULTILINE)
        assert addresses == ["0100007F"]


async def test_each_enter_prints_another_url(service: FakeService, tmp_path: Path, pty: Pty) -> None:
    async with pty.running(*FARHAND, "web", service.host, env=environment(tmp_path)):
        urls = set()
        for _ in range(3):
            await pty.shows(b"?invitation=")
            urls.add(await pty.shows(b"\r\n"))
            pty.type(b"\n")
        assert len(urls) == 3


async def test_the_browser_of_the_user_is_opened(service: FakeService, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text('#!/bin/sh\necho "$1" > "$0.opened.tmp"; mv "$0.opened.tmp" "$0.opened"\n')
    browser.chmod(browser.stat().st_mode | stat.S_IXUSR)
    async with running(tmp_path, service.host, "--open", BROWSER=f"{browser} %s") as process:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), TIMEOUT)
        opened = Path(f"{browser}.opened")
        async with asyncio.timeout(TIMEOUT):
            while not opened.exists():  # noqa: ASYNC110  # another program writes it; there is no event
                await asyncio.sleep(0.01)
        assert opened.read_bytes() == line


async def test_a_busy_port_is_named(service: FakeService, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        code, said = await failed(tmp_path, service.host, "--port", str(port))
    assert (code, said) == (255, f"farhand: cannot listen on port {port} of 127.0.0.1: Address already in use\n")


async def test_a_host_that_cannot_be_reached_is_no_page(tmp_path: Path) -> None:
    code, said = await failed(tmp_path, f"unix:{tmp_path}/nobody")
    assert code == 255
    assert said == f"farhand: there is no socket at {tmp_path}/nobody; is farhandd running?\n"


async def test_without_any_host_it_says_how_to_name_one(tmp_path: Path) -> None:
    code, said = await failed(tmp_path)
    assert code == 255
    assert "farhand web HOST" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--port", "http"], "'http' is no port; it must be 0 to 65535"),
        (["--port", "65536"], "'65536' is no port; it must be 0 to 65535"),
        (["--idle-timeout", "0"], "argument --idle-timeout"),
        (["a", "b"], "unrecognized arguments: b"),
    ],
)
async def test_wrong_usage_is_2(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    code, said = await failed(tmp_path, *arguments)
    assert code == 2
    assert sentence in said
