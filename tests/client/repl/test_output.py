"""Output is written unchanged for one host, and labelled line by line for several."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.options import RunOptions
from farhand_client.repl.hosts import ReplHost
from farhand_client.repl.output import MAX_LABELLED_LINE, LabelledOutput, LineLabeller, Output, StandardOutput
from tests.support.fake_runs import printing
from tests.support.fake_service import FakeService
from tests.support.ptys import Pty


def test_each_complete_line_is_labelled() -> None:
    web = LineLabeller("web")
    assert web.feed(b"one\ntw") == [b"web | one\n"]
    assert web.feed(b"o") == []
    assert web.feed(b"\n\nlast") == [b"web | two\n", b"web | \n"]
    assert web.rest() == [b"web | last\n"]
    assert web.rest() == []


def test_a_line_that_is_too_long_is_cut() -> None:
    web = LineLabeller("web")
    lines = web.feed(b"x" * (MAX_LABELLED_LINE + 10))
    assert lines == [b"web | " + b"x" * MAX_LABELLED_LINE + b"\n"]
    assert web.rest() == [b"web | " + b"x" * 10 + b"\n"]


@given(st.lists(st.binary(max_size=8).map(lambda data: data.replace(b"x", b"\n"))))
def test_labels_are_all_that_is_added(chunks: list[bytes]) -> None:
    label = LineLabeller("h")
    lines = [line for chunk in chunks for line in label.feed(chunk)] + label.rest()
    assert all(line.startswith(b"h | ") and line.endswith(b"\n") for line in lines)
    shown = b"".join(line.removeprefix(b"h | ") for line in lines)
    assert shown.removesuffix(b"\n") == b"".join(chunks).removesuffix(b"\n")


@pytest.mark.parametrize("label", ["é", "\udcff"])
def test_every_name_can_be_a_label(label: str) -> None:
    assert LineLabeller(label).feed(b"a\n")[0].endswith(b" | a\n")


Captured = pytest.CaptureFixture[str]


async def run_with(host: ReplHost, output: Output) -> None:
    """Run a program and deliver its output."""
    async with await host.connection.start(["prog"], RunOptions()) as run:
        assert run.stderr is not None
        await asyncio.gather(output.deliver(run.stdout, 1), output.deliver(run.stderr, 2))


async def test_output_of_one_host_is_written_unchanged(host: ReplHost, service: FakeService, capfd: Captured) -> None:
    service.behave = printing(b"\x1b[1mout", b"err")
    output = StandardOutput()
    await run_with(host, output)
    await output.write(1, [b"!", b"\n"])
    output.print_message("said\x1b")
    assert capfd.readouterr() == ("\x1b[1mout!\n", "errfarhand: said\\x1b\n")


async def test_output_of_several_hosts_is_labelled(host: ReplHost, service: FakeService, capfd: Captured) -> None:
    service.behave = printing(b"one\ntwo", b"err\n")
    output = LabelledOutput(StandardOutput(), "we\x1bb")
    await run_with(host, output)
    await output.write(1, [b"a\nb", b"c"])
    await output.write(1, [])
    output.print_message("said")
    assert capfd.readouterr() == (
        "we\\x1bb | one\nwe\\x1bb | two\nwe\\x1bb | a\nwe\\x1bb | bc\n",
        "we\\x1bb | err\nfarhand: we\\x1bb: said\n",
    )


@pytest.mark.parametrize(
    ("before", "mark"), [([b"a\n"], " "), ([b"a"], "\x1b[0;7m%\x1b[0m"), ([b"a", b"^C"], "\x1b[0;7m%\x1b[0m")]
)
async def test_the_next_line_begins_with_a_mark_if_the_output_had_no_newline(
    pty: Pty, capfd: Captured, before: list[bytes], mark: str
) -> None:
    output = StandardOutput()
    await output.write(1, before)
    await output.to_line_start()
    await output.to_line_start()
    spaces = " " * 79 + "\r \r"
    assert capfd.readouterr().out == b"".join(before).decode() + f"{mark}{spaces} {spaces}"


async def test_after_a_program_on_the_terminal_the_mark_is_shown_unless_it_was_interrupted(
    pty: Pty, capfd: Captured
) -> None:
    output = StandardOutput()
    for interrupted, mark in ((False, "\x1b[0;7m%"), (True, "  ")):
        output.terminal_written(interrupted=interrupted)
        await output.to_line_start()
        assert capfd.readouterr().out.startswith(mark)
