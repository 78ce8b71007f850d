"""The page of `farhand web` in a real browser, in front of a real service that is reached over TLS."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.support.service import START, Service
from tests.support.upgrades import kill_edge

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page

CHROMIUM: Final = ("chromium-headless-shell", "chromium")
"""The first of these that is there. Both are Chromium; the shell has no windows of its own, with which the other one
spends half a second of CPU for each page."""

FLAGS: Final = (
    "--no-sandbox",  # root cannot have one
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP *.test 127.0.0.1",
)

TIMEOUT: Final = 45_000.0
"""Milliseconds for one step, on a loaded machine."""

HOST: Final = "web"


@dataclass
class WebPage:
    """A running `farhand web`, and the browser that has opened its invitation."""

    process: asyncio.subprocess.Process
    address: str
    browser: Browser
    state: Any = None
    contexts: list[BrowserContext] = field(default_factory=list)

    async def open(self, place: str = "", **options: Any) -> Page:
        """Return a new window at `place`, such as `#/web/new`; what goes wrong in it fails the test (`check`)."""
        context = await self.browser.new_context(
            storage_state=self.state, **{"viewport": {"width": 1100, "height": 700}, **options}
        )
        context.set_default_timeout(TIMEOUT)
        self.contexts.append(context)
        page = await context.new_page()
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda said: self.faults.append(said.text) if said.type == "error" else None)
        await page.goto(f"{self.address}/{place}")
        return page

    faults: list[str] = field(default_factory=list)

    async def close(self) -> None:
        """Close all windows."""
        for context in self.contexts:
            await context.close()
        self.contexts.clear()


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run Chromium without a screen."""
    from playwright.async_api import async_playwright, expect

    expect.set_options(timeout=TIMEOUT)
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(
            executable_path=next(filter(None, map(shutil.which, CHROMIUM))),
            args=list(FLAGS),
            headless=True,
            timeout=2 * TIMEOUT,
        )
        try:
            yield browser
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def web_page(
    browser: Browser, service: Service, *arguments: str, env: Mapping[str, str] = {}
) -> AsyncIterator[WebPage]:
    """Run `farhand web` for a service that is reached over TLS with a login by key, and open its invitation."""
    async with running_web(service, *arguments, env=env) as (process, url):
        page = WebPage(process, url.partition("/open?")[0], browser)
        context = await browser.new_context()
        window = await context.new_page()
        await window.goto(url, timeout=TIMEOUT)
        page.state = await context.storage_state()
        await context.close()
        try:
            yield page
        finally:
            await page.close()


@contextlib.asynccontextmanager
async def running_web(
    service: Service, *arguments: str, env: Mapping[str, str] = {}
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run `farhand web`; yields the process and the URL that it has printed."""
    prepare_client(service)
    command = [sys.executable, "-m", "farhand_client", "web", HOST, *arguments]
    with (service.directory / "web.log").open("a") as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**service.environment, **env},
        )
    try:
        assert process.stdout is not None
        url = (await asyncio.wait_for(process.stdout.readline(), START)).decode().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/open\?invitation=[\w-]{43}", url), url
        yield process, url
    finally:
        if process.returncode is None:
            process.terminate()
        assert process.stdout is not None
        await asyncio.wait_for(process.stdout.read(), START)
        await asyncio.wait_for(process.wait(), START)


def prepare_client(service: Service) -> None:
    """Make the configuration in which the service is called `web`, and another host cannot be reached."""
    assert service.address is not None
    directory = Path(service.environment["XDG_CONFIG_HOME"], "farhand")
    port = service.address[1]
    (directory / "config.toml").write_text(
        f'[hosts.{HOST}]\naddress = "127.0.0.1:{port}"\nidentities = ["{service.directory}/key"]\n'
        f'[hosts.gone]\naddress = "unix:{service.directory}/nobody.sock"\n'
    )
    key = (service.directory / "state/farhand/host_key.pub").read_text()
    (directory / "known_hosts").write_text(f"[127.0.0.1]:{port} {key}")


async def cut(service: Service) -> None:
    """Cut all connections over TLS: the edge is killed, and the service starts another."""
    await kill_edge(service)
