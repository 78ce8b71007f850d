"""Nobody but the browser that was invited has access: not a page from elsewhere, not one with a borrowed name."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, expect

from tests.support.service import Service
from tests.support.web_pages import HOST, WebPage, web_page

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.asyncio(loop_scope="session")]

ATTACK = """async address => {
    const tried = {};
    const socket = (path) => new Promise((resolve) => {
        const opened = new WebSocket(address.replace("http", "ws") + path, "farhand.1");
        opened.onopen = () => resolve("open");
        opened.onerror = () => resolve("refused");
    });
    const read = async (path, options) => {
        try {
            return await (await fetch(address + path, options)).text();
        } catch {
            return "refused";
        }
    };
    tried.connection = await socket("/hosts/web/connection");
    tried.logout = await socket("/logout");
    tried.about = await read("/about.json", { credentials: "include" });
    tried.index = await read("/", { credentials: "include" });
    tried.script = await new Promise((resolve) => {
        const script = document.createElement("script");
        script.type = "module";
        script.onload = () => resolve("loaded");
        script.onerror = () => resolve("refused");
        script.src = address + "/app.js";
        document.head.append(script);
    });
    const frame = document.createElement("iframe");
    frame.src = address + "/";
    document.body.append(frame);
    await new Promise((resolve) => (frame.onload = resolve));
    try {
        tried.frame = frame.contentDocument === null ? "refused" : "readable";
    } catch {
        tried.frame = "refused";
    }
    return tried;
}"""

REFUSED = dict.fromkeys(("connection", "logout", "about", "index", "script", "frame"), "refused")


@contextlib.asynccontextmanager
async def foreign_site() -> AsyncIterator[int]:
    """Serve an empty page on another port of this machine."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 8\r\nConnection: close\r\n\r\n<p>hello"
        )
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "evil.test"])
async def test_a_page_from_elsewhere_gets_nothing_though_the_cookie_is_there(web: WebPage, name: str) -> None:
    page = await web.open(f"#/{HOST}")
    await expect(page.locator(".run-list")).to_be_visible()
    async with foreign_site() as port:
        await page.goto(f"http://{name}:{port}/")
        assert await page.evaluate(ATTACK, web.address) == REFUSED
    await page.goto(f"{web.address}/#/{HOST}")
    await expect(page.locator(".run-list")).to_be_visible()
    await web.close()
    web.faults.clear()  # the browser says what it has refused, perhaps late


async def test_a_name_that_was_pointed_here_gets_nothing(web: WebPage) -> None:
    context = await web.browser.new_context(storage_state=web.state)
    web.contexts.append(context)
    page = await context.new_page()
    answer = await page.goto(web.address.replace("127.0.0.1", "rebound.test"))
    assert answer is not None
    assert answer.status == 421


async def test_an_invitation_opens_one_browser(browser: Browser, web_service: Service) -> None:
    async with web_page(browser, web_service) as own:
        page = await own.open(f"#/{HOST}")
        await expect(page.locator(".run-list")).to_be_visible()
        stranger = await browser.new_context()
        own.contexts.append(stranger)
        window = await stranger.new_page()
        answer = await window.goto(f"{own.address}/")
        assert answer is not None
        assert answer.status == 401
        await expect(window.locator("body")).to_contain_text("farhand web")


async def test_logging_out_ends_all_windows_at_once(browser: Browser, web_service: Service) -> None:
    async with web_page(browser, web_service) as own:
        first, second = await own.open(f"#/{HOST}"), await own.open(f"#/{HOST}/terminal")
        await second.wait_for_url("**/runs/*/terminal")
        await first.get_by_role("button", name="Log out").click()
        for page in (first, second):
            await expect(page.get_by_role("alert")).to_contain_text("logged out")
        answer = await first.goto(f"{own.address}/")
        assert answer is not None
        assert answer.status == 401


async def test_a_session_that_nobody_uses_ends(browser: Browser, web_service: Service) -> None:
    async with web_page(browser, web_service, "--idle-timeout", "8s") as own:
        page = await own.open(f"#/{HOST}/terminal")  # before that, on however busy a machine
        await expect(page.get_by_role("alert")).to_contain_text("logged out")


async def test_no_secret_is_in_the_address_or_the_log(browser: Browser, web_service: Service) -> None:
    async with web_page(browser, web_service) as own:
        page = await own.open(f"#/{HOST}")
        await expect(page.locator(".run-list")).to_be_visible()
        secrets = [cookie["value"] for cookie in own.state["cookies"]]
        assert all(len(secret) >= 43 for secret in secrets)
        seen = page.url + await page.evaluate("document.cookie + JSON.stringify(localStorage) + document.referrer")
        log = (web_service.directory / "web.log").read_text() + web_service.log
        for secret in secrets:
            assert secret not in seen
            assert secret not in log
        assert "invitation" not in seen + log


async def test_text_of_a_service_is_text(web: WebPage) -> None:
    """What a service and its programs say is shown, and never becomes part of the page."""
    page = await web.open(f"#/{HOST}/new?arg=" + "%3Cimg%20src%3Dx%20onerror%3Ddocument.title%3D1%3E")
    await page.get_by_role("button", name="Start", exact=True).click()
    await expect(page.get_by_role("alert")).to_contain_text("<img src=x onerror=document.title=1>")
    assert await page.locator("img").count() == 0
    assert await page.title() != "1"
