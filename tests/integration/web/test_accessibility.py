"""The page serves people who see little, use no mouse, or have a small screen (WCAG 2.2, AA)."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]  # it brings no types
from playwright.async_api import Page, expect

from tests.integration.web.test_runs import start
from tests.integration.web.test_terminals import leave, shell
from tests.support.web_pages import HOST, WebPage

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.asyncio(loop_scope="session")]

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


async def violations(page: Page) -> list[Any]:
    """Return what axe-core finds wrong: rule, and the elements."""
    results = await Axe().run(page, options=RULES)
    return [(found["id"], [node["html"][:200] for node in found["nodes"]]) for found in results.response["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_no_view_has_violations(web: WebPage, scheme: str) -> None:
    page = await start(web, r"printf '\033[31mred\033[0m \033[33myellow \033[34;7mblue\033[0m\n'; echo bad >&2; exit 1")
    await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # a literal
    await expect(page.locator(".badge")).to_have_text("exit 1")
    await page.locator("summary").click()
    assert await violations(page) == []
    for place in ("", "/new", "/files"):
        await page.goto(f"{web.address}/#/{HOST}{place}")
        await expect(page.get_by_role("link", name="New run" if not place else "Back to the runs")).to_be_visible()
        if place != "/new":
            await expect(page.locator("tbody tr").first).to_be_visible()
        assert await violations(page) == []


async def test_a_terminal_is_read_aloud(web: WebPage) -> None:
    page = await shell(web)
    await page.get_by_role("button", name="Screen reader mode").click()
    assert await violations(page) == []
    await expect(page.locator(".xterm-accessibility")).to_contain_text(">")
    await leave(page)


async def test_everything_is_done_with_the_keyboard(web: WebPage) -> None:
    page = await web.open(f"#/{HOST}")
    await expect(page.get_by_role("link", name="New run")).to_be_visible()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("searchbox")).to_be_focused()
    for _ in range(4):
        await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="New run")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Program", exact=True)).to_be_visible()
    await page.get_by_label("Program", exact=True).focus()
    await page.keyboard.type("true")
    await page.keyboard.press("Enter")
    await expect(page.locator(".badge")).to_have_text("done")


async def test_the_keyboard_gets_out_of_a_terminal(web: WebPage) -> None:
    page = await shell(web)
    await page.locator(".xterm-helper-textarea").focus()
    await page.keyboard.press("Control+F6")
    await expect(page.get_by_role("link", name="Back to the runs")).to_be_focused()
    await leave(page)


@pytest.mark.parametrize("width", [360, 3840])
async def test_every_view_fits_the_screen(web: WebPage, width: int) -> None:
    page = await web.open(f"#/{HOST}", viewport={"width": width, "height": 640}, has_touch=width < 1000)
    await expect(page.get_by_role("link", name="New run")).to_be_visible()
    for place in ("", "/new", "/files", "/terminal"):
        await page.goto(f"{web.address}/#/{HOST}{place}")
        await page.wait_for_function("document.querySelector('main').childElementCount === 1")
        if place == "/terminal":
            await page.wait_for_url("**/runs/*/terminal")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
    if width < 1000:
        await page.get_by_role("button", name="Menu").click()
        await expect(page.get_by_role("link", name="gone")).to_be_visible()
    await leave(page)
