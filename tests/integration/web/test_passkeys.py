"""A service's own page: who has a passkey gets in, and nobody else, whatever becomes of the web process."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

import farhand_client
from farhand_protocol.sshformat import parse_public_key_line
from tests.support.web_site import PasskeyBrowser, SiteService, passkey_browser, web_site

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.asyncio(loop_scope="module")]

USER = getpass.getuser()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SiteService]:
    # Attempts to log in with a wrong passkey are charged, and all tests come from one address.
    async with web_site(
        tmp_path_factory.mktemp("site"), "[edge]\npenalty_refused = 0\npenalty_no_login = 0\n"
    ) as serving:
        yield serving


@pytest_asyncio.fixture(loop_scope="module")
async def window(own_browser: Browser) -> AsyncIterator[PasskeyBrowser]:
    async with passkey_browser(own_browser) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own_browser() -> AsyncIterator[Browser]:
    from tests.support.web_pages import chromium

    async with chromium() as started:
        yield started


async def make_passkey(page: Page, site: SiteService) -> str:
    """Make a passkey on the page, and return its line."""
    await page.goto(site.address)
    await page.fill("input[name=user]", USER)
    await page.get_by_role("button", name="Make a passkey").click()
    return await page.locator(".key-line").inner_text()


async def log_in(page: Page) -> None:
    await page.get_by_role("button", name="Log in with a passkey").first.click()
    await expect(page.locator(".run-list")).to_be_visible()
    await expect(page.locator(".hosts .dot.connected")).to_be_attached()


def web_pids(site: SiteService) -> list[int]:
    """Return the workers of the web process, and the process that supervises them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                environment = (entry / "environ").read_bytes()
                if b"web" in words and b"--child" in words and str(site.service.directory).encode() in environment:
                    found.append(int(entry.name))
    return found


async def test_a_passkey_made_on_the_page_logs_in_once_its_line_is_authorized(
    site: SiteService, window: PasskeyBrowser
) -> None:
    line = await make_passkey(window.page, site)
    key, comment = parse_public_key_line(line)
    assert (key.type, key.application, comment) == (
        "sk-ecdsa-sha2-nistp256@openssh.com", b"localhost", f"{USER}@localhost"
    )  # fmt: skip
    site.authorize(line)
    await log_in(window.page)
    await site.service.logged(f"msg=login .*user={USER} how=passkey key={re.escape(key.fingerprint)}")
    entries = [
        json.loads(text) for text in (site.service.directory / "state/farhand/audit.jsonl").read_text().splitlines()
    ]
    login = next(entry for entry in entries if entry["event"] == "login" and entry["how"] == "passkey")
    assert (login["user"], login["key"]) == (USER, key.fingerprint)
    assert window.faults == []


async def test_a_passkey_that_nobody_has_authorized_does_not_log_in_and_the_page_says_so(
    site: SiteService, window: PasskeyBrowser
) -> None:
    await make_passkey(window.page, site)
    site.authorize()
    await window.page.get_by_role("button", name="Log in with a passkey").click()
    await expect(window.page.locator(".notice")).to_contain_text("this passkey is not authorized for this user")
    await site.service.logged("login refused.*key_not_authorized")


async def test_a_page_whose_web_process_is_killed_goes_on_after_another_touch(
    site: SiteService, window: PasskeyBrowser
) -> None:
    site.authorize(await make_passkey(window.page, site))
    await log_in(window.page)
    async with (
        farhand_client.connect(site.service.host) as client,
        client.start(["cat"], stdin=farhand_client.PIPE) as run,
    ):
        await expect(window.page.locator(".run-list")).to_contain_text("cat")
        serving = 'msg="connected to the core" process=web'
        before = site.service.log.count(serving)
        for pid in sorted(web_pids(site)):  # the supervisor first, so that it starts no other worker
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        notice = window.page.locator(".notice")
        await expect(notice).to_contain_text("Log in to go on.")
        await site.service.logged(serving, before + 1)
        await notice.get_by_role("button", name="Log in with a passkey").click()
        await expect(window.page.locator(".hosts .dot.connected")).to_be_attached()
        await expect(window.page.locator(".run-list")).to_contain_text("cat")
        run.kill()
        await run.wait()


async def test_after_logging_out_a_passkey_is_needed_again(site: SiteService, window: PasskeyBrowser) -> None:
    site.authorize(await make_passkey(window.page, site))
    await log_in(window.page)
    await window.page.get_by_role("button", name="Log out").click()
    await expect(window.page.locator("form.login")).to_be_visible()
    async with farhand_client.connect(site.service.host) as client, asyncio.timeout(30):
        while (await client.status()).connections > 1:  # noqa: ASYNC110  # the service tells no event for it
            await asyncio.sleep(0.02)
    await log_in(window.page)


ATTACK = """async address => {
    const opened = await new Promise((resolve) => {
        const socket = new WebSocket(address.replace("http", "ws") + "/connection", "farhand.1");
        socket.onopen = () => resolve("open");
        socket.onerror = () => resolve("refused");
    });
    const read = await fetch(address + "/about.json").then(() => "readable", () => "refused");
    const asked = await navigator.credentials
        .get({ publicKey: { challenge: new Uint8Array(32), rpId: "localhost", timeout: 5000 } })
        .then(() => "signed", (error) => error.name);
    return { opened, read, asked };
}"""


async def test_a_page_of_another_site_reaches_neither_the_service_nor_the_passkey(
    site: SiteService, window: PasskeyBrowser
) -> None:
    site.authorize(await make_passkey(window.page, site))
    async with foreign_page(site) as address:
        await window.page.goto(address)
        found = await window.page.evaluate(ATTACK, site.address)
    # Pages of other sites get no signature of this site's passkey at all.
    assert found == {"opened": "refused", "read": "refused", "asked": "SecurityError"}


@contextlib.asynccontextmanager
async def foreign_page(site: SiteService) -> AsyncIterator[str]:
    """Serve an empty page under another name."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://evil.localhost:{server.sockets[0].getsockname()[1]}/"
