"""A terminal in the browser looks as it does elsewhere, and belongs to the service: reloads and cuts are pauses."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

from tests.support.service import Service
from tests.support.web_pages import HOST, WebPage, cut

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.asyncio(loop_scope="session")]

MOUSE = re.compile(r"\benable-mouse-events\b")
"""The class that a terminal has while its program is told of the mouse."""


async def lines(page: Page) -> list[str]:
    """Return what the terminal shows, line by line, as a screen reader would read it."""
    rows = await page.locator(".xterm-rows > div").all_inner_texts()
    return [row.replace("\xa0", " ").rstrip() for row in rows]


async def shell(web: WebPage) -> Page:
    """Open a new terminal, and wait for its prompt."""
    page = await web.open(f"#/{HOST}/terminal")
    await page.wait_for_url("**/runs/*/terminal")
    await typed(page, "PS1='> '; clear\n")
    await expect(page.locator(".xterm-rows > div").first).to_have_text(">")
    return page


async def typed(page: Page, text: str) -> None:
    await page.locator(".xterm-helper-textarea").focus()
    await page.keyboard.type(text)


async def leave(page: Page) -> None:
    await typed(page, "exit 3\n")
    await expect(page.locator("[role=status]", has_text="exit 3")).to_be_visible()


async def test_a_shell_is_a_shell_with_its_size_and_its_exit_code(web: WebPage) -> None:
    page = await shell(web)
    await typed(page, "stty size; echo $TERM\n")
    rows = page.locator(".xterm-rows > div")
    await expect(rows.nth(2)).to_have_text("xterm-256color")
    height, width = (await rows.nth(1).inner_text()).split()
    assert await rows.count() == int(height)
    await page.set_viewport_size({"width": 800, "height": 500})
    await typed(page, f"""clear; while [ "$(stty size)" = "{height} {width}" ]; do sleep 0.05; done; stty size\n""")
    await expect(rows.first).to_have_text(re.compile(r"^\d+ \d+$"))
    smaller = [int(number) for number in (await rows.first.inner_text()).split()]
    assert await rows.count() == smaller[0]
    assert (smaller[0] < int(height), smaller[1] < int(width)) == (True, True)
    await leave(page)


async def test_vim_comes_back_after_a_reload_and_a_cut_with_its_modes(web: WebPage, web_service: Service) -> None:
    page = await shell(web)
    await typed(page, "vim -u NONE -c 'set mouse=a' -c 'set showmode'\n")
    await expect(page.locator(".xterm-rows > div").nth(1)).to_have_text("~")
    await typed(page, "ihello from the page")
    await expect(page.locator(".xterm-rows > div").last).to_have_text("-- INSERT --")
    await expect(page.locator(".xterm-rows > div").first).to_have_text("hello from the page")
    before = await lines(page)
    await page.reload()
    await expect(page.locator(".xterm-rows > div")).to_have_text(before)
    await expect(page.locator(".xterm")).to_have_class(MOUSE)
    await cut(web_service)
    await typed(page, " and on")
    await expect(page.locator(".xterm-rows > div").first).to_have_text("hello from the page and on")
    await page.keyboard.press("Escape")
    await typed(page, ":q!\n")
    await expect(page.locator(".xterm-rows > div").first).to_have_text(
        "> vim -u NONE -c 'set mouse=a' -c 'set showmode'"
    )
    await expect(page.locator(".xterm")).not_to_have_class(MOUSE)
    await leave(page)


async def test_a_terminal_answers_no_question_twice(web: WebPage) -> None:
    page = await shell(web)
    # A program asks who the terminal is and reads the answer; after a reload nobody would read another one.
    await typed(page, r"""read -rsd c -p $'\e[c' answer; echo "${#answer}" characters""" + "\n")
    rows = page.locator(".xterm-rows > div")
    await expect(rows.nth(1)).to_contain_text("characters")
    await page.reload()
    await expect(rows.nth(1)).to_contain_text("characters")
    await typed(page, "echo nothing else\n")
    await expect(rows.nth(3)).to_have_text("nothing else")
    assert (await rows.nth(2).inner_text()).replace("\xa0", " ").rstrip() == "> echo nothing else"
    await leave(page)


async def test_two_pages_share_a_shell_and_one_may_only_watch(web: WebPage) -> None:
    first = await shell(web)
    place = first.url.removeprefix(web.address + "/")
    second = await web.open(place)
    await expect(second.locator(".notice", has_text="Another client types here")).to_be_visible()
    watcher = await web.open(f"{place}?watch")
    await typed(first, "echo from the first\n")
    for page in (second, watcher):
        await expect(page.locator(".xterm-rows")).to_contain_text("from the first")
    await watcher.keyboard.type("echo never\n")
    await second.get_by_role("button", name="Type here too").click()
    await typed(second, "echo from the second\n")
    for page in (first, watcher):
        await expect(page.locator(".xterm-rows")).to_contain_text("from the second")
    assert "never" not in "".join(await lines(first))
    await leave(first)


async def test_keys_that_a_browser_takes_are_on_a_bar(web: WebPage) -> None:
    page = await shell(web)
    # What is typed before a program has set the terminal's modes would be taken in those of the shell.
    wanted = "^[^W^T^N^[[A^D^C"
    reading = r"clear; stty raw -echo; printf 'ready\r\n'; head -c 9 | cat -v; stty sane; echo"
    await typed(page, f"{reading}\n")
    rows = page.locator(".xterm-rows > div")
    await expect(rows.first).to_have_text("ready")
    bar = page.get_by_role("toolbar")
    for name in ("Esc", "Ctrl-W", "Ctrl-T", "Ctrl-N", "↑"):
        await bar.get_by_role("button", name=name, exact=True).click()
    await bar.get_by_role("button", name="Ctrl", exact=True).click()
    await page.keyboard.type("d")
    await bar.get_by_role("button", name="Ctrl-C", exact=True).click()
    await expect(rows.nth(1)).to_have_text(wanted)
    await expect(rows.nth(2)).to_have_text(">")
    await leave(page)


async def test_a_program_copies_only_with_consent(web: WebPage) -> None:
    page = await shell(web)
    await typed(page, r"printf '\e]52;c;c2VjcmV0\a\e]2;a title\a'" + "\n")
    await expect(page.locator(".notice", has_text="wants to copy 6 B")).to_be_visible()
    assert "a title" not in await page.title()
    await page.get_by_role("button", name="Deny").click()
    await expect(page.locator(".notice", has_text="wants to copy")).to_be_hidden()
    await leave(page)


async def test_many_lines_are_pasted_only_with_consent(web: WebPage) -> None:
    page = await shell(web)
    await typed(page, "clear; echo ready; cat\n")  # cat knows no bracketed paste
    await expect(page.locator(".xterm-rows > div").first).to_have_text("ready")
    paste = """text => {
        const data = new DataTransfer();
        data.setData("text/plain", text);
        const event = new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
        document.querySelector(".xterm-helper-textarea").dispatchEvent(event);
    }"""
    await page.evaluate(paste, "echo one\necho two\n")
    await page.get_by_role("dialog").get_by_role("button", name="No").click()
    await page.evaluate(paste, "echo three\necho four\n")
    await page.get_by_role("dialog").get_by_role("button", name="Paste").click()
    await expect(page.locator(".xterm-rows")).to_contain_text("four")
    assert "two" not in "".join(await lines(page))
    await page.get_by_role("toolbar").get_by_role("button", name="Ctrl-D").click()
    await leave(page)


async def test_a_recording_is_played_from_any_place(web: WebPage) -> None:
    page = await shell(web)
    # Neither word is in what is typed: how much of its echo comes at once is not known.
    await typed(page, "clear; echo be''gin; read; clear; echo mid''dle\n")
    await expect(page.locator(".xterm-rows > div").first).to_have_text("begin")
    await typed(page, "\n")
    await expect(page.locator(".xterm-rows > div").first).to_have_text("middle")
    await leave(page)
    await page.get_by_role("link", name="Details").click()
    await page.get_by_role("link", name="Replay").click()
    slider = page.get_by_role("slider", name="Position")
    await expect(slider).not_to_have_attribute("max", "0")
    await expect(page.get_by_role("button", name="Play")).to_be_visible()  # at the end
    await expect(page.locator(".xterm-rows")).to_contain_text("exit 3")
    await page.get_by_role("searchbox").fill("begin")
    await page.keyboard.press("Enter")
    await expect(page.locator(".xterm-rows")).to_contain_text("begin")
    await expect(page.locator(".xterm-rows")).not_to_contain_text("middle")
