"""Runs in the browser: started, watched, answered and stopped, as from the command line."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.async_api import Page, expect

from tests.support.service import Service
from tests.support.web_pages import HOST, WebPage, cut

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.asyncio(loop_scope="session")]


async def start(web: WebPage, command: str) -> Page:
    """Start a shell's text by the form, and return the page of its run."""
    page = await web.open(f"#/{HOST}/new?shell={quote(command)}")
    await page.get_by_role("button", name="Start", exact=True).click()
    await page.wait_for_url("**/runs/*")
    return page


async def farhand(service: Service, *arguments: str) -> str:
    command = [sys.executable, "-m", "farhand_client", *arguments]
    process = await asyncio.create_subprocess_exec(
        *command, env=service.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return (await process.communicate())[0].decode()


async def test_a_program_gets_its_arguments_as_they_are_given(web: WebPage) -> None:
    page = await web.open(f"#/{HOST}/new")
    words = ["printf", "%s|", "", "a b", "$HOME", "it's", "-n", "größe"]
    await page.get_by_label("Program", exact=True).fill(words[0])
    for number, word in enumerate(words[1:], 1):
        await page.get_by_role("button", name="Add an argument").click()
        await page.get_by_label(f"Argument {number}", exact=True).fill(word)
    line = page.locator("form.run-form pre")
    await expect(line).to_have_text(f"farhand run {HOST} -- printf '%s|' '' 'a b' '$HOME' 'it'\\''s' -n 'größe'")
    await page.get_by_role("button", name="Start", exact=True).click()
    await expect(page.locator(".output-view .row").first).to_have_text("|a b|$HOME|it's|-n|größe|")
    await expect(page.locator(".badge")).to_have_text("done")


async def test_a_run_is_watched_answered_and_ends_with_its_outcome(web: WebPage) -> None:
    page = await start(web, "echo working; read answer; echo got $answer; echo bad >&2; exit 3")
    rows = page.locator(".output-view .row")
    await expect(rows).to_have_text(["working"])
    await expect(page.locator(".badge")).to_have_text("running")
    await page.get_by_label("Type input for the run").fill("it's me")
    await page.keyboard.press("Enter")
    await expect(page.locator(".badge")).to_have_text("exit 3")
    await expect(rows).to_have_count(3)
    assert sorted(await rows.all_inner_texts()) == ["bad", "got it's me", "working"]
    await page.get_by_label("Streams").select_option("stderr")
    await expect(rows).to_have_text(["bad"])
    assert (await page.title()).startswith("exit 3")


async def test_a_run_that_is_stopped_is_listed_so(web: WebPage) -> None:
    page = await start(web, "echo pid $$; exec sleep 600")
    await expect(page.locator(".output-view .row").first).to_contain_text("pid")
    await page.get_by_role("button", name="Stop", exact=True).click()
    await page.get_by_role("dialog").get_by_role("button", name="Stop").click()
    await expect(page.locator(".badge")).to_have_text("SIGTERM")
    await page.get_by_role("link", name="Back to the runs").click()
    row = page.locator("tbody tr", has_text="exec sleep 600").first
    await expect(row.locator(".badge")).to_have_text("SIGTERM")


async def test_runs_of_other_clients_appear_by_themselves(web: WebPage, web_service: Service) -> None:
    page = await web.open(f"#/{HOST}")
    await expect(page.locator(".run-list")).to_be_visible()
    text = f"from the command line {os.urandom(4).hex()}"
    said = await farhand(web_service, "run", "--detach", HOST, "--", "echo", text)
    row = page.locator("tbody tr", has_text=text)
    await expect(row.locator(".badge")).to_have_text("done")
    await page.get_by_role("searchbox").fill("nothing like it")
    await expect(page.locator("tbody tr")).to_have_count(0)
    await page.get_by_role("searchbox").fill(said.strip()[:20])
    await expect(page.locator("tbody tr")).to_have_count(1)


async def test_what_a_program_writes_is_shown_as_text_with_its_colours(web: WebPage) -> None:
    page = await start(
        web,
        r"printf '<b id=x>\033[31mred\033[0m\033[1;44mblue\033[0m\n\033]0;t\007\033[2Jlast\rend\n\342\200\256rtl\n'",
    )
    rows = page.locator(".output-view .row")
    await expect(rows.first).to_have_text("<b id=x>redblue")
    await expect(page.locator(".output-view .c1")).to_have_text("red")
    await expect(page.locator(".output-view .b4.bold")).to_have_text("blue")
    await expect(rows.nth(1)).to_have_text("end")
    await expect(rows.nth(2)).to_have_text("\ufffdrtl")
    assert await page.locator("#x").count() == 0


async def test_a_command_that_cannot_be_started_says_why(web: WebPage) -> None:
    page = await web.open(f"#/{HOST}/new?arg=no-such-program")
    await page.get_by_role("button", name="Start", exact=True).click()
    await expect(page.get_by_role("alert")).to_contain_text("no-such-program")


@pytest.mark.parametrize("wrong", ["?arg=", "?arg=true&timeout=soon", "?arg=true&env=NAME"])
async def test_a_form_says_what_is_wrong_in_it(web: WebPage, wrong: str) -> None:
    page = await web.open(f"#/{HOST}/new{wrong}")
    await page.get_by_role("button", name="Start", exact=True).click()
    await expect(page.get_by_role("alert")).not_to_be_empty()


async def test_output_continues_at_the_byte_after_a_reload_and_a_cut(web: WebPage, web_service: Service) -> None:
    page = await start(web, "for i in $(seq 100000); do echo row $i; done; read go; echo last; sleep 600")
    await expect(page.locator(".output-view .row").last).to_have_text("row 100000")
    await page.reload()
    await expect(page.locator(".output-view .row").last).to_have_text("row 100000")
    await cut(web_service)
    await page.get_by_label("Type input for the run").fill("go")
    await page.keyboard.press("Enter")
    await expect(page.locator(".output-view .row").last).to_have_text("last")
    await page.get_by_label("Search the output").fill("row 77777")
    await page.keyboard.press("Enter")
    await expect(page.locator(".row.found")).to_have_text("row 77777")
    await expect(page.locator(".tools", has_text="1 / 1")).to_be_visible()
    # Every row once: the middle of what is shown counts on by one.
    shown = [int(text.split()[1]) for text in await page.locator(".output-view .row").all_inner_texts()]
    assert shown == list(range(shown[0], shown[0] + len(shown)))
    await page.get_by_role("button", name="Stop", exact=True).click()
    await page.get_by_role("dialog").get_by_role("button", name="Stop").click()
    await expect(page.locator(".badge")).to_have_text("SIGTERM")


async def test_the_output_is_downloaded_whole(web: WebPage) -> None:
    page = await start(web, "seq 200000")
    await expect(page.locator(".badge")).to_have_text("done")
    await page.evaluate("delete window.showSaveFilePicker")  # there is nobody who could pick a file
    async with page.expect_download() as downloading:
        await page.get_by_role("button", name="Download stdout").click()
    content = (await (await downloading.value).path()).read_text()
    assert content == "".join(f"{number}\n" for number in range(1, 200_001))


async def test_times_of_rows_are_shown_and_jumped_to(web: WebPage) -> None:
    page = await start(web, "echo early; read go; echo late")
    await expect(page.locator(".output-view .row")).to_have_text(["early"])
    await page.get_by_label("Type input for the run").fill("go")
    await page.keyboard.press("Enter")
    await expect(page.locator(".badge")).to_have_text("done")
    await page.get_by_role("button", name="Times").click()
    times = page.locator(".row .time")
    await expect(times).to_have_count(2)
    early, late = (float(text) for text in await times.all_inner_texts())
    assert early < late
    await page.get_by_label("Jump to").fill("1")


async def test_a_host_that_cannot_be_reached_says_why(web: WebPage) -> None:
    page = await web.open("#/gone")
    await expect(page.locator(".notice")).to_contain_text("nobody.sock")
    await page.goto(f"{web.address}/#/nowhere")
    await expect(page.locator("main")).to_contain_text("nowhere")


async def test_the_page_speaks_chinese_to_those_who_do(web: WebPage) -> None:
    page = await web.open(f"#/{HOST}", locale="zh-CN")
    await expect(page.get_by_role("link", name="新建运行")).to_be_visible()
    assert await page.evaluate("document.documentElement.lang") == "zh-CN"
    await page.get_by_label("Language").select_option("en")
    await expect(page.get_by_role("link", name="New run")).to_be_visible()


async def test_a_run_is_started_again_as_it_was_or_edited(web: WebPage, tmp_path: Path) -> None:
    words = ["sh", "-c", 'echo "$0|$1|$V"; pwd', "it's", "$HOME"]
    query = "&".join(f"arg={quote(word)}" for word in words)
    place = f"#/{HOST}/new?{query}&cwd={quote(str(tmp_path))}&env=V%3Da%20b&timeout=60"
    page = await web.open(place)
    await page.get_by_role("button", name="Start", exact=True).click()
    rows = page.locator(".output-view .row")
    await expect(rows).to_have_text(["it's|$HOME|a b", str(tmp_path)])
    first = page.url
    await page.get_by_role("button", name="Run again").click()
    await expect(page).not_to_have_url(first)
    await expect(rows).to_have_text(["it's|$HOME|a b", str(tmp_path)])
    await expect(page.locator(".badge")).to_have_text("done")
    await page.get_by_role("link", name="Edit and run again").click()
    await expect(page.get_by_label("Argument 3", exact=True)).to_have_value("it's")
    await expect(page.get_by_label("Timeout")).to_have_value("60")
    assert await page.get_by_label("Directory").input_value() == str(tmp_path)


async def test_a_form_is_saved_and_its_directory_completed(web: WebPage, tmp_path: Path) -> None:
    for name in ("sub one", "sub two", ".hidden", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "sub file").touch()
    page = await web.open(f"#/{HOST}/new?arg=ls&arg=-l")
    await page.get_by_label("Directory").fill(f"{tmp_path}/su")
    offered = page.locator("datalist option")
    await expect(offered).to_have_count(2)
    values = [await offered.nth(number).get_attribute("value") for number in range(2)]
    assert values == [f"{tmp_path}/sub one/", f"{tmp_path}/sub two/"]
    await page.get_by_label("Directory").fill(f"{values[1]}")
    await page.get_by_label("Name of this form").fill("listing")
    await page.get_by_role("button", name="Save", exact=True).click()
    await page.goto(f"{web.address}/#/{HOST}")
    await page.get_by_role("link", name="New run").click()
    await page.get_by_label("Saved forms").select_option("listing")
    await expect(page.get_by_label("Argument 1", exact=True)).to_have_value("-l")
    await expect(page.get_by_label("Directory")).to_have_value(f"{values[1]}")
    await page.get_by_role("button", name="Forget").click()
    await page.reload()
    await expect(page.get_by_label("Saved forms").locator("option")).to_have_count(1)
