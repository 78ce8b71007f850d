"""Measures the page of `farhand web` in Chromium: `python -m tests.benchmarks.pages`, from the project's root.

Starts a service (core and edge, TLS, login by key) on loopback, `farhand web` and Chromium, and prints a figure a line.
What depends on the machine's load is also given as processor time, which does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from playwright.async_api import Browser, expect

from farhand_client import Client, connect
from farhand_protocol import messages as m
from tests.support.faulty_proxy import network_service
from tests.support.processes import children
from tests.support.service import Service
from tests.support.web_pages import HOST, WebPage, chromium, web_page

PAINTS: Final = 9
"""Loads of the run list, of which the median is shown."""

KEYS: Final = 200
"""Keys whose echo is timed."""

OUTPUT: Final = 100_000_000
"""Bytes of output that go through a page."""

MANY: Final = 50
"""Pages, and clients, whose cost to the service is compared."""

ROUNDS: Final = 4
"""Turns of pages and clients; the first does not count."""

LISTED: Final = 30
"""Runs in the list that is painted."""


NOTE_RUNS: Final = """
    new MutationObserver((_, observer) => {
        if (document.querySelector("tbody tr") === null) return;
        observer.disconnect();
        requestAnimationFrame(() => performance.mark("runs-shown"));
    }).observe(document, { childList: true, subtree: true });
"""
"""Notes when the first run is shown."""


async def _paint(web: WebPage) -> None:
    """The first paint of the run list, and the weight of what is loaded for it."""
    times, weight = [], 0.0
    for _ in range(PAINTS):
        context = await web.browser.new_context(storage_state=web.state)
        web.contexts.append(context)
        await context.add_init_script(NOTE_RUNS)
        page = await context.new_page()
        await page.goto(f"{web.address}/#/{HOST}")
        await expect(page.locator("tbody tr").first).to_be_visible()
        found = await page.evaluate(
            """() => ({
                list: performance.getEntriesByName("runs-shown")[0]?.startTime ?? 0,
                paint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0,
                weight: performance.getEntriesByType("resource").reduce((sum, each) => sum + each.decodedBodySize, 0),
            })"""
        )
        times.append((found["paint"], found["list"]))
        weight = found["weight"]
        await web.close()
    print(f"first paint: {statistics.median(paint for paint, _ in times):.0f} ms")
    print(f"first paint of the runs: {statistics.median(shown for _, shown in times):.0f} ms")
    print(f"weight of the list: {weight / 1024:.0f} KiB")


ECHO: Final = """async count => {
    const { Host } = await import("/wire/host.js");
    const { Attachment } = await import("/wire/attachment.js");
    const { newRunId } = await import("/wire/values.js");
    const { Screen } = await import("/views/screen.js");
    const host = new Host("web", name => {
        const socket = new WebSocket(`ws://${location.host}/hosts/${name}/connection`, "farhand.1");
        socket.binaryType = "arraybuffer";
        return socket;
    });
    const place = document.createElement("div");
    place.style.cssText = "position: fixed; inset: 0";
    document.body.append(place);
    const screen = new Screen(place, {}, {});
    let echoed = () => {}, started;
    const ready = new Promise(resolve => { started = resolve; });
    const argv = ["sh", "-c", "stty raw -echo; echo ready; exec cat"];
    const run = { type: "run", argv, stdin: true, merge_stderr: true,
        terminal: { name: "xterm-256color", size: { columns: 80, rows: 24 } } };
    const id = newRunId();
    const attachment = new Attachment(host, id, { run: { ...run, id } }, {
        data: (stream, bytes) => {
            attachment.consumed(stream, bytes.length);
            started();
            screen.terminal.write(bytes, () => echoed());
        },
    });
    attachment.begin();
    await ready;
    const times = [];
    for (let key = 0; key < count; key++) {
        const began = performance.now();
        await new Promise(resolve => { echoed = resolve; attachment.write(Uint8Array.of(97 + key % 26)); });
        times.push(performance.now() - began);
    }
    attachment.stop();
    return times;
}"""


async def _echo(web: WebPage, service: Service) -> None:
    """The echo of a key on the screen of the page, and in the native client."""
    page = await web.open(f"#/{HOST}/new")
    await expect(page.locator("form.run-form")).to_be_visible()
    own: list[float] = []
    shown: list[float] = []
    async with _client(service) as client:
        asked = m.TerminalRequest(name="xterm-256color", size=m.WindowSize(columns=80, rows=24))
        async with client.start(["sh", "-c", "stty raw -echo; echo ready; exec cat"], terminal=asked) as run:
            await run.stdout.read(16)
            for _ in range(2):  # in turns: the load of a machine changes
                shown += await page.evaluate(ECHO, KEYS // 2)
                for _ in range(KEYS // 2):
                    began = time.perf_counter()
                    run.stdin.write(b"a")
                    await run.stdin.drain()
                    await run.stdout.read(1)
                    own.append((time.perf_counter() - began) * 1000)
            run.kill()
    await web.close()
    ratio = statistics.median(shown) / statistics.median(own)
    print(
        f"key echo: page {statistics.median(shown):.2f} ms, native {statistics.median(own):.2f} ms, {ratio:.2f} times"
    )


FRAMES: Final = """() => {
    window.frames_ = [];
    const tick = now => { window.frames_.push(now); window.frameHandle = requestAnimationFrame(tick); };
    requestAnimationFrame(tick);
}"""


async def _output(web: WebPage, colour: str) -> None:
    """A hundred megabytes of output through a page that follows it."""
    end = "\x1b[0m" if colour else ""
    line = f"yes '{colour}the quick brown fox jumps over the lazy dog and on{end}'"
    page = await web.open(f"#/{HOST}/new?shell={quote(f'{line} | head -c {OUTPUT}')}")
    session = await page.context.new_cdp_session(page)
    await session.send("Performance.enable")
    await page.get_by_role("button", name="Start", exact=True).click()
    await page.wait_for_url("**/runs/*")
    await expect(page.locator(".input-line")).to_be_visible()
    before = await _metrics(session)
    began = time.monotonic()
    await page.evaluate(FRAMES)
    renderer = await _page_process(web.browser)
    cpu = _main_thread(renderer)
    await expect(page.locator(".input-line")).to_be_hidden(timeout=300_000)  # its outcome comes before its output
    seconds = time.monotonic() - began
    frames: list[float] = await page.evaluate("window.frames_")
    after = await _metrics(session)
    gaps = [after_ - before_ for before_, after_ in itertools.pairwise(frames)]
    kinds = ("Task", "Script", "Layout", "RecalcStyle")
    spent = ", ".join(f"{kind} {after[kind + 'Duration'] - before[kind + 'Duration']:.2f} s" for kind in kinds)
    what = "coloured" if colour else "plain"
    print(f"{OUTPUT / 1e6:.0f} MB of {what} output: {seconds:.1f} s, {len(gaps) / seconds:.0f} frames/s", end=", ")
    cpu = _main_thread(renderer) - cpu
    print(
        f"longest frame {max(gaps):.0f} ms; main thread {cpu:.2f} s, {cpu / len(gaps) * 1000:.1f} ms a frame", end="; "
    )
    print(f"wall {spent}; page {_own_memory(renderer) / 1024:.0f} MiB")
    await web.close()


async def _metrics(session: Any) -> dict[str, float]:
    answer = await session.send("Performance.getMetrics")
    return {each["name"]: each["value"] for each in answer["metrics"]}


def _main_thread(pid: int) -> float:
    """Return the processor time of a process's first thread in seconds."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9


async def _page_process(browser: Browser) -> int:
    """Return the process of the page, which is the largest renderer of its browser."""
    session = await browser.new_browser_cdp_session()
    processes = (await session.send("SystemInfo.getProcessInfo"))["processInfo"]
    await session.detach()
    pids: list[int] = [each["id"] for each in processes if each["type"] == "renderer"]
    return max(pids, key=_own_memory)


def _own_memory(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(float(row.split()[1]) for row in text.splitlines() if row.startswith("Private_"))


HOLD: Final = """async count => {
    const { Host } = await import("/wire/host.js");
    window.held = [];
    for (let number = 0; number < count; number++) {
        const host = new Host("web", name => {
            const socket = new WebSocket(`ws://${location.host}/hosts/${name}/connection`, "farhand.1");
            socket.binaryType = "arraybuffer";
            return socket;
        });
        await host.request({ type: "list", ended: true, limit: 100 });
        window.held.push(host);
    }
}"""


async def _many(web: WebPage, service: Service) -> None:
    """What pages cost the service, and what clients cost it, in turns: what one has left the next one uses."""
    pages, clients = [], []
    for _ in range(ROUNDS):
        clients.append(await _cost_of_clients(service))
        pages.append(await _cost_of_pages(web, service))
    # In the first round each pays for what the service makes once.
    print(f"the service for {MANY} pages: {statistics.median(pages[1:]):.0f} KiB", end=", ")
    print(f"for {MANY} clients: {statistics.median(clients[1:]):.0f} KiB")


async def _cost_of_pages(web: WebPage, service: Service) -> float:
    page = await web.open(f"#/{HOST}/new")
    await expect(page.locator("form.run-form")).to_be_visible()
    empty = _service_memory(service)
    await page.evaluate(HOLD, MANY)
    full = _service_memory(service)
    await web.close()
    return full - empty


async def _cost_of_clients(service: Service) -> float:
    empty = _service_memory(service)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(MANY):
            client = await stack.enter_async_context(_client(service))
            await client.runs(ended=True)
        return _service_memory(service) - empty


def _service_memory(service: Service) -> float:
    """Return the memory in KiB that the service's processes have for themselves."""
    return sum(_own_memory(pid) for pid in (service.process.pid, *children(service.process.pid)))


def _client(service: Service) -> contextlib.AbstractAsyncContextManager[Client]:
    assert service.address is not None
    key, known = service.directory / "key", Path(service.environment["XDG_CONFIG_HOME"], "farhand/known_hosts")
    return connect(f"127.0.0.1:{service.address[1]}", identities=[key], known_hosts=known)


async def _measure(only: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with (
            network_service(Path(directory)) as service,
            chromium() as browser,
            web_page(browser, service) as web,
        ):
            async with connect(service.host) as client:
                for number in range(LISTED):
                    await client.run(["echo", str(number)])
            if only in ("", "paint"):
                await _paint(web)
            if only in ("", "output"):
                for colour in ("", "\x1b[32m"):
                    await _output(web, colour)
            if only in ("", "echo"):
                await _echo(web, service)
            if only in ("", "many"):
                await _many(web, service)


def _main() -> None:
    asyncio.run(_measure(sys.argv[1] if len(sys.argv) > 1 else ""))


if __name__ == "__main__":
    _main()
