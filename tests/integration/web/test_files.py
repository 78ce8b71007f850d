"""Files in the browser: listed, downloaded and uploaded whole, whatever is cut on the way."""

from __future__ import annotations

import asyncio
import os
import re
import tarfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from blake3 import blake3
from playwright.async_api import Locator, Page, expect

from tests.support.service import Service
from tests.support.web_pages import HOST, WebPage, cut

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.asyncio(loop_scope="session")]


README = (Path(__file__).parents[3] / "protocol/README.md").read_text()


async def files(web: WebPage, directory: Path) -> Page:
    """Return the page of a directory, which is listed."""
    page = await web.open(f"#/{HOST}/files/{quote(str(directory), safe='')}")
    await listed(page)
    await page.evaluate("delete window.showSaveFilePicker")  # there is nobody who could pick a file
    return page


async def listed(page: Page) -> None:
    await expect(page.locator(".files .note").first).not_to_have_text("Loading")


async def downloaded(page: Page, button: Locator) -> tuple[str, bytes]:
    """Return the name and the content of what a button downloads."""
    async with page.expect_download() as downloading:
        await button.click()
    download = await downloading.value
    return download.suggested_filename, (await download.path()).read_bytes()


async def transfer(web: WebPage, work: str, **values: Any) -> Any:
    """Run a function body with the exports of the transfer's modules, a host that is its own, and `values` as `v`."""
    page = await web.open(f"#/{HOST}/new")
    modules = ["wire/host", "files/sending", "files/receiving", "files/frames", "files/blake3"]
    imports = " ".join(f"Object.assign(m, await import('/{name}.js'));" for name in modules)
    dial = f"""
        const dial = () => {{
            const socket = new WebSocket(`ws://${{location.host}}/hosts/{HOST}/connection`, "farhand.1");
            socket.binaryType = "arraybuffer";
            return socket;
        }};
        const host = new m.Host("{HOST}", dial);
        const bytes = text => new TextEncoder().encode(text);
        const signal = new AbortController().signal;
    """
    return await page.evaluate(f"async v => {{ const m = {{}}; {imports} {dial} {work} }}", values)


async def test_a_directory_is_listed_with_names_of_any_bytes(web: WebPage, tmp_path: Path) -> None:
    (tmp_path / "sub dir/deeper").mkdir(parents=True)
    (tmp_path / "sub dir/inner.txt").write_text("inner")
    (tmp_path / "[a]*?.txt").write_text("x" * 2000)
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")).write_bytes(b"bytes")
    (tmp_path / "link").symlink_to("sub dir")
    for number in range(20):
        (tmp_path / f"file {number}").touch()
    page = await files(web, tmp_path)
    names = await page.locator(".files td.name").all_inner_texts()
    assert [name.split("↓")[0].strip() for name in names[:2]] == ["..", "sub dir/"]
    assert len(names) == 25
    row = page.locator(".files tr", has_text="[a]*?.txt")
    await expect(row.locator(".size")).to_have_text("2.0 KiB")
    await expect(page.locator(".files tr", has_text="link")).to_contain_text("→ sub dir")
    await page.get_by_role("link", name="sub dir/").click()
    await expect(page.locator(".files tr", has_text="inner.txt")).to_be_visible()
    await page.get_by_role("link", name="Parent directory").click()
    await page.get_by_role("searchbox").fill("caf")
    await expect(page.locator(".files tbody tr")).to_have_count(1)
    name, content = await downloaded(page, page.get_by_role("button", name="Download caf"))
    assert (name, content) == ("caf\ufffd", b"bytes")


async def test_what_cannot_be_listed_says_why(web: WebPage, tmp_path: Path) -> None:
    page = await files(web, tmp_path / "missing")
    await expect(page.locator(".files .note").first).to_contain_text("No such file or directory")
    (tmp_path / "a file").write_text("content")
    await page.get_by_label("Path").fill(str(tmp_path / "a file"))
    await page.get_by_role("button", name="Go", exact=True).click()
    await expect(page.locator(".files .note").first).to_contain_text("a file is a file.")
    await page.evaluate("delete window.showSaveFilePicker")
    assert await downloaded(page, page.get_by_role("button", name="Download a file")) == ("a file", b"content")


async def test_a_file_is_downloaded_whole_with_its_digest(web: WebPage, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    with (tmp_path / "large.bin").open("wb") as file:
        file.write(content)
        file.seek(5_000_000)  # a hole
        file.write(b"end")
    page = await files(web, tmp_path)
    name, got = await downloaded(page, page.get_by_role("button", name="Download large.bin"))
    assert (name, got) == ("large.bin", (tmp_path / "large.bin").read_bytes())
    digest = blake3(got).hexdigest()[:16]
    await expect(page.locator(".transfers li.done")).to_contain_text(f"BLAKE3 {digest}")


async def test_a_directory_is_downloaded_as_an_archive(web: WebPage, tmp_path: Path) -> None:
    top = tmp_path / "tree"
    (top / "empty").mkdir(parents=True)
    long = "/".join(["a long name of a directory"] * 5)
    (top / long).mkdir(parents=True)
    (top / long / "f").write_bytes(os.urandom(1_500_000))
    for number in range(30):
        (top / f"n{number}").write_text(str(number) * number)
    (top / "run.sh").write_text("#!/bin/sh\n")
    (top / "run.sh").chmod(0o755)
    (top / "same.sh").hardlink_to(top / "run.sh")
    (top / "to").symlink_to("n1")
    page = await files(web, tmp_path)
    name, content = await downloaded(page, page.get_by_role("button", name="Download tree as tar"))
    assert name == "tree.tar"
    (tmp_path / "got.tar").write_bytes(content)
    (tmp_path / "out").mkdir()
    with tarfile.open(tmp_path / "got.tar") as archive:
        archive.extractall(tmp_path / "out", filter="tar")
    for path in [top, *top.rglob("*")]:
        other = tmp_path / "out" / path.relative_to(tmp_path)
        assert path.lstat().st_mode == other.lstat().st_mode, path
        assert int(path.lstat().st_mtime) == int(other.lstat().st_mtime) or path.is_dir() or path.is_symlink()
        if path.is_symlink():
            assert path.readlink() == other.readlink()
        elif path.is_file():
            assert path.read_bytes() == other.read_bytes()
    out = tmp_path / "out/tree"
    assert (out / "run.sh").samefile(out / "same.sh")


async def test_files_are_uploaded_and_replaced_only_if_somebody_says_so(web: WebPage, tmp_path: Path) -> None:
    sources, destination = tmp_path / "from", tmp_path / "to"
    sources.mkdir()
    destination.mkdir()
    (destination / "größe.txt").write_text("old")
    large = os.urandom(2_500_000)
    (sources / "größe.txt").write_bytes(large)
    (sources / "empty").touch()
    page = await files(web, destination)
    async with page.expect_file_chooser() as choosing:
        await page.get_by_role("button", name="Upload files").click()
    await (await choosing.value).set_files([sources / "größe.txt", sources / "empty"])
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("größe.txt")
    assert (destination / "größe.txt").read_text() == "old"
    await dialog.get_by_role("button", name="Replace").click()
    await expect(page.locator(".transfers li.done")).to_contain_text("done: 2 files")
    assert (destination / "größe.txt").read_bytes() == large
    assert (destination / "empty").read_bytes() == b""
    assert int((destination / "größe.txt").stat().st_mtime) == int((sources / "größe.txt").stat().st_mtime)
    await expect(page.locator(".files tr", has_text="empty")).to_be_visible()


async def test_a_dropped_file_and_a_directory_that_was_picked_are_uploaded(web: WebPage, tmp_path: Path) -> None:
    tree, destination = tmp_path / "tree", tmp_path / "to"
    (tree / "sub").mkdir(parents=True)
    destination.mkdir()
    (tree / "sub/f").write_text("deep")
    page = await files(web, destination)
    async with page.expect_file_chooser() as choosing:
        await page.get_by_role("button", name="Upload a directory").click()
    await (await choosing.value).set_files(tree)
    await expect(page.locator(".transfers li.done")).to_contain_text("done: 1 files")
    assert (destination / "tree/sub/f").read_text() == "deep"
    data = await page.evaluate_handle(
        "() => { const d = new DataTransfer(); d.items.add(new File(['dropped'], 'd.txt')); return d; }"
    )
    await page.locator(".files").dispatch_event("drop", {"dataTransfer": data})
    await expect(page.locator(".transfers li.done")).to_have_count(2)
    assert (destination / "d.txt").read_text() == "dropped"


async def test_what_the_service_refuses_is_told_and_nothing_else_is_lost(web: WebPage, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    page = await files(web, tmp_path)
    data = await page.evaluate_handle(
        "() => { const d = new DataTransfer(); for (const n of ['taken', 'free'])"
        " d.items.add(new File([n], n)); return d; }"
    )
    await page.locator(".files").dispatch_event("drop", {"dataTransfer": data})
    await expect(page.locator(".transfers li.failed")).to_contain_text("1 failed; taken")
    assert (tmp_path / "free").read_text() == "free"


GATED_FILE = """
    // A file whose third chunk is there once somebody says so.
    const content = crypto.getRandomValues(new Uint8Array(65536));
    const chunk = new Uint8Array(1 << 20);
    for (let at = 0; at < chunk.length; at += content.length) chunk.set(content, at);
    const whole = new File([chunk, chunk, chunk, chunk.subarray(0, 1000)], "gated");
    let open;
    const gate = new Promise(resolve => { open = resolve; });
    window.openGate = open;
    const file = { size: whole.size, lastModified: whole.lastModified, slice: (from, to) => ({
        arrayBuffer: async () => { if (from >= 2 << 20) await gate; return whole.slice(from, to).arrayBuffer(); },
    }) };
"""


def leftover(directory: Path) -> Path | None:
    """Return the temporary file of an upload once two chunks are in it."""
    found = [path for path in directory.iterdir() if path.stat().st_size >= 2 << 20]
    return found[0] if found else None


async def until(condition: Any) -> Any:
    """Wait for what has no event."""
    async with asyncio.timeout(30):
        while not (value := condition()):  # noqa: ASYNC110  # a file of another process
            await asyncio.sleep(0.005)
        return value


KILL_TRANSFER = """async () => {
    const m = await import("/wire/requests.js");
    const answers = await window.testHost.request({ type: "list" });
    const runs = answers.flatMap(answer => answer.type === "runs" ? answer.runs : []);
    const [found] = runs.filter(run => run.transfer && !run.internal && run.outcome === undefined);
    await m.signalRun(window.testHost, found.id, 9);
}"""


@pytest.mark.parametrize("what", ["connection", "worker"])
async def test_an_upload_continues_after_a_cut_and_sends_nothing_twice(
    web: WebPage, web_service: Service, tmp_path: Path, what: str
) -> None:
    work = f"""{GATED_FILE}
        window.testHost = host;
        let sent = 0;
        const progress = done => {{ sent = done; }};
        const runs = async () => (await host.request({{ type: "list", ended: true }}))
            .flatMap(answer => answer.type === "runs" ? answer.runs : [])
            .filter(run => run.transfer && !run.internal).length;
        const before = await runs();
        const done = await m.sendFiles(host, bytes(v.directory), [{{ path: "gated", file }}], {{ signal, progress }});
        const digest = m.blake3(new Uint8Array(await whole.arrayBuffer()));
        return [done.files, done.failures.length, sent, Array.from(digest), (await runs()) - before];
    """
    uploading = asyncio.ensure_future(transfer(web, work, directory=str(tmp_path)))
    await until(lambda: leftover(tmp_path))
    page = web.contexts[-1].pages[0]
    if what == "connection":
        await cut(web_service)
    else:
        await page.evaluate(KILL_TRANSFER)
    await page.evaluate("window.openGate()")
    files, failures, sent, digest, runs = await uploading
    assert (files, failures, sent) == (1, 0, (3 << 20) + 1000)
    assert runs == (1 if what == "connection" else 2)  # a lost connection costs no transfer
    assert blake3((tmp_path / "gated").read_bytes()).digest() == bytes(digest)
    assert [path.name for path in tmp_path.iterdir()] == ["gated"]


async def test_a_download_continues_where_its_transfer_was_killed(
    web: WebPage, web_service: Service, tmp_path: Path
) -> None:
    content = os.urandom(6 << 20)
    (tmp_path / "f").write_bytes(content)
    work = """
        window.testHost = host;
        const got = new Uint8Array(v.size);
        const written = new Set();
        let open, killed;
        const gate = new Promise(resolve => { open = resolve; });
        window.openGate = open;
        const sink = {
            write: async (position, bytes) => {
                window.gotSome = position >= 2 << 20;
                if (window.gotSome) await gate;
                for (let at = position; at < position + bytes.length; at += 65536) written.add(`${window.turn}-${at}`);
                got.set(bytes, position);
            },
            truncate: async size => {},
        };
        window.turn = 1;
        const received = await m.receivePath(host, bytes(v.path), false, sink, { signal, progress: () => {} });
        const again = [...written].filter(text => text.startsWith("2-")).map(text => Number(text.slice(2)));
        return [Array.from(received.digest), Array.from(m.blake3(got)), Math.min(...again)];
    """
    downloading = asyncio.ensure_future(transfer(web, work, path=str(tmp_path / "f"), size=len(content)))
    page = await until(lambda: web.contexts and web.contexts[-1].pages and web.contexts[-1].pages[0])
    await expect(page.locator("form.run-form")).to_be_visible()
    while not await page.evaluate("window.gotSome"):  # noqa: ASYNC110  # the page may evaluate no text
        await asyncio.sleep(0.02)
    await page.evaluate(KILL_TRANSFER)
    await page.evaluate("window.turn = 2; window.openGate()")
    told, got, first = await downloading
    assert bytes(told) == bytes(got) == blake3(content).digest()
    assert first >= 2 << 20


async def test_a_download_that_is_damaged_on_the_way_is_refused(web: WebPage, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"content")
    work = """
        const original = m.Frame;
        const prototype = m.TransferReader.prototype;
        const feed = prototype.feed;
        prototype.feed = function (bytes) {
            const frames = feed.call(this, bytes);
            for (const frame of frames) if (frame.frame === m.Frame.DATA) frame.data[0] ^= 1;
            return frames;
        };
        const sink = { write: async () => {}, truncate: async () => {} };
        try {
            await m.receivePath(host, bytes(v.path), false, sink, { signal, progress: () => {} });
            return "received";
        } catch (error) {
            return error.message;
        }
    """
    assert "digests differ" in await transfer(web, work, path=str(tmp_path / "f"))


async def test_the_digest_is_blake3(web: WebPage) -> None:
    sizes = [0, 1, 63, 64, 65, 1023, 1024, 1025, 2048, 2049, 5000, 1 << 16, 100_001]
    work = """
        return v.sizes.map(size => {
            const bytes = Uint8Array.from({ length: size }, (_, at) => at % 251);
            const parts = new m.Blake3();
            for (let at = 0; at < size; at += 777) parts.update(bytes.subarray(at, at + 777));
            return [Array.from(m.blake3(bytes)), Array.from(parts.copy().digest())];
        });
    """
    for size, (whole, parts) in zip(sizes, await transfer(web, work, sizes=sizes), strict=True):
        assert bytes(whole) == bytes(parts) == blake3(bytes(at % 251 for at in range(size))).digest()


async def test_the_frames_of_the_specification_are_read_and_written(web: WebPage) -> None:
    blocks = re.findall(r"^```transfer\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    examples = [
        bytes.fromhex("".join(example.split("\n")[1:]))
        for block in blocks
        for example in re.split(r"^[<>] ", block, flags=re.MULTILINE)
        if example.strip()
    ]
    assert len(examples) > 20
    work = """
        return v.examples.map(example => {
            const reader = new m.TransferReader();
            const found = example.flatMap(byte => reader.feed(Uint8Array.of(byte)));
            const { frame, ...values } = found[0];
            return [found.length, Array.from(m.encodeTransferFrame(frame, values))];
        });
    """
    written = await transfer(web, work, examples=[list(example) for example in examples])
    assert [(count, bytes(example)) for count, example in written] == [(1, example) for example in examples]


async def test_what_no_transfer_sends_is_refused(web: WebPage) -> None:
    wrong = [
        "00 00 00 00 00",
        "00 00 00 00 63",
        "00 20 00 00 09",
        "00 00 00 02 05 00 00",
        "00 00 00 01 11 00",
        "00 00 00 08 04 00 00 00 00 ff ff ff ff",
    ]
    work = """
        return v.wrong.map(bytes => {
            try { new m.TransferReader().feed(Uint8Array.from(bytes)); return "read"; }
            catch (error) { return error.constructor.name; }
        });
    """
    found = await transfer(web, work, wrong=[list(bytes.fromhex(each)) for each in wrong])
    assert found == ["ProtocolError"] * len(wrong)
