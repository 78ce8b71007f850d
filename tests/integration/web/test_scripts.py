"""The page's own scripts, function by function, in the browser: against the specification, and with awkward input."""

from __future__ import annotations

import random
import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from farhand_protocol.features import FEATURES
from farhand_protocol.frames import Kind, encode_frame
from farhand_protocol.states import FINAL_MESSAGES, Side
from farhand_protocol.values import bytes_to_json
from tests.support.web_pages import HOST, WebPage

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.asyncio(loop_scope="session")]

README = (Path(__file__).parents[3] / "protocol/README.md").read_text()


@pytest_asyncio.fixture(loop_scope="session")
async def page(web: WebPage) -> AsyncIterator[Page]:
    page = await web.open(f"#/{HOST}")
    await expect(page.locator(".run-list")).to_be_visible()
    yield page


async def call(page: Page, module: str, body: str, *values: Any) -> Any:
    """Return what a function body gives that uses the exports of a module as `m`, and `values` as `v`."""
    return await page.evaluate(f"async v => {{ const m = await import('/{module}'); {body} }}", list(values))


READ = """
    const reader = new m.FrameReader();
    const found = [];
    for (const chunk of v[0]) {
        for (const { kind, channel, payload } of reader.feed(Uint8Array.from(chunk))) {
            found.push([kind, channel, Array.from(payload)]);
        }
    }
    return found;
"""


async def test_the_frames_of_the_specification_are_read_and_written(page: Page) -> None:
    examples = [bytes.fromhex(text) for text in re.findall(r"^```hex\n(.*?)^```", README, re.MULTILINE | re.DOTALL)]
    assert len(examples) >= 3
    for example in examples:
        (frame,) = await call(page, "wire/frames.js", READ, [list(example)])
        assert bytes(frame[2]) == example[8:]
        written = await call(
            page, "wire/frames.js", "return Array.from(m.encodeFrame(v[0], v[1], Uint8Array.from(v[2])))", *frame
        )
        assert bytes(written) == example


async def test_frames_are_the_same_however_they_are_cut(page: Page) -> None:
    chance = random.Random(1)
    frames = [
        (
            chance.choice([Kind.STDOUT, Kind.STDERR]),
            chance.randrange(1, 1 << 32),
            chance.randbytes(chance.randrange(1, 70)),
        )
        for _ in range(40)
    ]
    frames.append((Kind.MESSAGE, 0, b""))
    data = b"".join(encode_frame(*frame) for frame in frames)
    whole = [[int(kind), channel, list(payload)] for kind, channel, payload in frames]
    cuts = sorted(chance.sample(range(len(data)), 200))
    for chunks in (
        [data],
        [bytes([byte]) for byte in data],
        [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)],
    ):
        assert await call(page, "wire/frames.js", READ, [list(chunk) for chunk in chunks]) == whole


@pytest.mark.parametrize(
    "header",
    ["00 00 00 00 00 00 00 00", "00 00 05 02 00 00 00 01", "00 00 05 05 00 00 00 01", "00 00 00 03 00 00 00 01",
     "01 00 01 03 00 00 00 01", "40 00 01 01 00 00 00 00", "ff ff ff ff ff ff ff ff"],
)  # fmt: skip
async def test_what_no_service_sends_is_refused_from_the_header_alone(page: Page, header: str) -> None:
    body = """
        try {
            new m.FrameReader().feed(Uint8Array.from(v[0]));
            return "read";
        } catch (error) {
            return error.constructor.name;
        }
    """
    assert await call(page, "wire/frames.js", body, list(bytes.fromhex(header))) == "ProtocolError"


async def test_bytes_have_the_one_form_that_the_specification_gives_them(page: Page) -> None:
    chance = random.Random(2)
    values = [
        b"",
        b"caf\xc3\xa9",
        b"caf\xe9",
        b"\xef\xbb\xbfx",
        b"\xed\xa0\x80",
        "größe 汉字 🖐".encode(),
        bytes(range(256)),
    ]
    values += [chance.randbytes(chance.randrange(20)) for _ in range(200)]
    for value in values:
        written = await call(page, "wire/values.js", "return m.toWire(Uint8Array.from(v[0]))", list(value))
        assert written == bytes_to_json(value)
        assert bytes(await call(page, "wire/values.js", "return Array.from(m.fromWire(v[0]))", written)) == value


async def test_run_ids_are_of_version_7_and_sort_by_time(page: Page) -> None:
    ids = [
        await call(page, "wire/values.js", "return m.newRunId(v[0])", now) for now in (0, 1, 2**32, 1_796_000_000_000)
    ]
    assert ids == sorted(ids)
    for run_id in ids:
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", run_id)


async def test_the_page_knows_the_final_messages_and_only_features_that_there_are(page: Page) -> None:
    source = await call(page, "wire/connection.js", "return (await (await fetch('/wire/connection.js')).text())")
    final = re.search(r"const FINAL = new Set\(\[(.*?)\]\)", source)
    assert final is not None
    names = {kind.model_fields["type"].default for kind in FINAL_MESSAGES[Side.SERVER]}
    assert set(re.findall(r'"(\w+)"', final[1])) == names
    assert set(await call(page, "wire/connection.js", "return m.FEATURES")) <= set(FEATURES)


async def test_a_socket_that_is_closing_is_sent_nothing(page: Page) -> None:
    body = """
        const sent = [];
        const socket = { readyState: WebSocket.OPEN, send: (data) => sent.push(data.length), close: () => {} };
        const connection = new m.Connection(socket, { ready: () => {}, ended: () => {} });
        const counts = [];
        for (const state of [WebSocket.OPEN, WebSocket.CLOSING]) {
            socket.readyState = state;  // its event comes later
            const channel = connection.open({ type: "list" }, { received: () => {}, lost: () => {} });
            connection.sendData(channel, Uint8Array.from(v[0]));
            counts.push(sent.length);
        }
        return counts;
    """
    assert await call(page, "wire/connection.js", body, [1, 2, 3]) == [2, 2]


async def test_no_text_of_a_service_acts_on_the_page(page: Page) -> None:
    text = "a\nb\tc\x1b[31m\u202eд\u200b\ufeff\x9b"
    shown = await call(page, "wire/values.js", "return m.printable(v[0])", text)
    assert shown == "a\\nb\\tc\\x1b[31m\\u202eд\\u200b\\ufeff\\x9b"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1h30m", 5400), ("2d", 172800), ("0.5s", 0.5), ("250ms", 0.25), ("", None), ("0", None),
     ("soon", None), ("-1", None), ("1 h", None), ("1e3", None)],
)  # fmt: skip
async def test_times_are_read_as_on_the_command_line(page: Page, text: str, seconds: float | None) -> None:
    assert await call(page, "wire/runs.js", "return m.parseTime(v[0])", text) == seconds


LOG = """
    const log = new m.OutputLog();
    for (const [kind, chunk] of v[0]) log.add(kind, Uint8Array.from(chunk));
    return Array.from({ length: log.rows }, (_, number) => [log.row(number).kind, log.row(number).text]);
"""


async def test_rows_are_the_same_however_output_is_cut(page: Page) -> None:
    chance = random.Random(3)
    lines = [
        f"row {number} \x1b[3{number % 8}mcolour\x1b[0m {'x' * chance.randrange(60)} größe" for number in range(60)
    ]
    data = "\n".join([*lines, "", "no end"]).encode()
    whole = await call(page, "output/log.js", LOG, [[0, list(data)]])
    assert [text for _, text in whole] == [re.sub(r"\x1b\[\d*m", "", line) for line in [*lines, "", "no end"]]
    for _ in range(5):
        cuts = sorted(chance.sample(range(len(data)), 300))
        chunks = [[0, list(data[a:b])] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        assert await call(page, "output/log.js", LOG, chunks) == whole


async def test_both_streams_continue_their_own_rows(page: Page) -> None:
    chunks = [(0, b"one "), (1, b"bad "), (0, b"more\nnext"), (1, b"worse\n"), (0, b" end\n")]
    rows = await call(page, "output/log.js", LOG, [(kind, list(chunk)) for kind, chunk in chunks])
    assert rows == [[0, "one more"], [1, "bad worse"], [0, "next end"]]


async def test_a_line_without_end_is_cut_into_rows(page: Page) -> None:
    rows = await call(page, "output/log.js", LOG, [[0, list(b"x" * 1000)]] * 50)
    assert "".join(text for _, text in rows) == "x" * 50_000
    assert max(len(text) for _, text in rows) == 16384


async def test_of_too_much_output_the_oldest_rows_go(page: Page) -> None:
    body = """
        const log = new m.OutputLog();
        const line = new TextEncoder().encode("x".repeat(99) + "\\n");
        const many = new Uint8Array(line.length * 1000);
        for (let at = 0; at < 1000; at++) many.set(line, at * line.length);
        let last = 0;
        for (let round = 0; round < 1000; round++) log.add(0, many);
        log.add(0, new TextEncoder().encode("last\\n"));
        return [log.rows, log.dropped, log.row(log.rows - 1).text, log.row(0).text.length, m.MAX_BYTES];
    """
    rows, dropped, last, first, most = await call(page, "output/log.js", body)
    assert rows + dropped == 1_000_001
    assert most * 0.9 < rows * 99 <= most
    assert (last, first) == ("last", 99)


async def test_styles_are_those_of_the_sequences(page: Page) -> None:
    body = """
        const table = new m.StyleTable();
        return table.styles[v[0].reduce((style, parameters) => table.after(style, parameters), 0)];
    """
    for parameters, expected in (
        (["31"], ["c1", "", 0]),
        (["1;4;97;100"], ["c15", "c8", 9]),
        (["1", "22"], ["", "", 0]),
        (["38;5;208"], ["rgb(255 135 0)", "", 0]),
        (["48;5;244"], ["", "rgb(128 128 128)", 0]),
        (["38;2;1;2;3;7"], ["rgb(1 2 3)", "", 16]),
        (["38;2;1;2;999"], ["", "", 0]),
        (["38;5"], ["", "", 0]),
        (["31;44", ""], ["", "", 0]),
        (["31;999;44"], ["c1", "c4", 0]),
    ):
        style = await call(page, "output/styles.js", body, parameters)
        assert [style["foreground"], style["background"], style["flags"]] == expected, parameters


async def test_the_command_line_of_a_form_is_one_that_a_shell_reads_back(page: Page) -> None:
    words = ["printf", "%s|", "", "a b", "$HOME", "it's", "-n", "größe", "a\nb", "*", "~"]
    form = {
        "argv": words,
        "shell": None,
        "directory": "a b",
        "environment": [["A", "x y"]],
        "timeout": 90,
        "terminal": False,
    }
    line = await call(page, "wire/runs.js", "return m.commandLine('web', v[0])", form)
    assert shlex.split(line) == ["farhand", "run", "-C", "a b", "-e", "A=x y", "--timeout", "90", "web", "--", *words]
