"""Each event is one line, whatever its values contain, and the service never waits for its log."""

import json
import logging
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_server.logs import MAX_QUEUED_LINES, MAX_VALUE, Logger, LogSink, quote


class Pipe:
    """A logger that writes to a pipe, and the pipe's reading end."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.sink = LogSink(self.writer)
        self.log = Logger(self.sink, {})

    def lines(self) -> list[str]:
        """Close the sink, and return everything that was logged."""
        self.sink.close()
        os.close(self.writer)
        with open(self.reader, closefd=False, encoding="utf-8", newline="\n") as stream:
            return stream.read().split("\n")[:-1]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    os.close(pipe.reader)


def test_a_byte_that_is_not_text_is_shown_as_a_byte() -> None:
    assert quote("/\udcff\\xff") == '"/\\xff\\\\xff"'


TIME = r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "


def test_an_event_is_a_line_of_keys_and_values(pipe: Pipe) -> None:
    pipe.log.info("run started", run="0190", user="alice", pid=7, shell=False, seconds=0.5, path=Path("/a b"))
    (line,) = pipe.lines()
    assert re.fullmatch(
        TIME + 'level=info msg="run started" run=0190 user=alice pid=7 shell=false seconds=0.5 path="/a b"', line
    )


def test_an_event_can_be_one_json_object(pipe: Pipe) -> None:
    pipe.sink.configure("json")
    pipe.log.info("run started", run="0190", pid=7, shell=False, seconds=float("inf"))
    event = json.loads(pipe.lines()[0])
    assert event.pop("time").endswith("Z")
    reported = {"level": "info", "msg": "run started", "run": "0190", "pid": 7, "shell": False, "seconds": "inf"}
    assert event == reported


def test_lines_for_the_journal_have_a_priority_prefix_and_no_time() -> None:
    ours, journal = socket.socketpair()
    with ours, journal:
        status = os.fstat(ours.fileno())
        sink = LogSink(ours.fileno())
        sink.configure(environ={"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
        Logger(sink, {}).warning("login refused", source="192.0.2.1")
        assert journal.recv(1000) == b'<4>msg="login refused" source=192.0.2.1\n'


def test_the_journal_stream_of_another_descriptor_is_ignored(pipe: Pipe) -> None:
    pipe.sink.configure(environ={"JOURNAL_STREAM": "1:2"})
    pipe.log.info("started")
    assert pipe.lines()[0].startswith("time=")


def test_levels_below_the_configured_one_are_omitted(pipe: Pipe) -> None:
    pipe.sink.configure(level="warning")
    pipe.log.debug("a")
    pipe.log.info("b")
    pipe.log.warning("c")
    pipe.log.error("d")
    assert [line.rpartition("=")[2] for line in pipe.lines()] == ["c", "d"]


def test_a_bound_logger_adds_its_fields_and_none_omits_a_field(pipe: Pipe) -> None:
    pipe.log.bind(connection=3).bind(user="bob").info("closed", reason=None)
    assert pipe.lines()[0].endswith("msg=closed connection=3 user=bob")


def test_an_error_has_its_traceback_on_the_same_line(pipe: Pipe) -> None:
    try:
        raise OSError("two\nlines")
    except OSError as error:
        pipe.log.error("accept failed", error=error)
    (line,) = pipe.lines()
    assert 'error="OSError: two\\nlines"' in line
    assert "error_traceback=" in line
    assert "test_logs.py" in line


def test_bytes_and_mappings_are_never_written(pipe: Pipe) -> None:
    pipe.log.info("run started", stdin=b"secret", environment={"TOKEN": "secret"})  # type: ignore[arg-type]  # on purpose
    (line,) = pipe.lines()
    assert 'stdin="(bytes withheld)" environment="(dict withheld)"' in line
    assert "secret" not in line


def test_a_long_value_is_cut(pipe: Pipe) -> None:
    pipe.log.info("x", value="a" * 5000)
    assert pipe.lines()[0].endswith('value="' + "a" * (MAX_VALUE - 1) + '…"')


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("", '""'),
        ("a=b", '"a=b"'),
        ('say "hi"\\', '"say \\"hi\\"\\\\"'),
        ("a\nlevel=error msg=forged", '"a\\nlevel=error msg=forged"'),
        ("\x1b[2J\x9b\x7f", '"\\u001b[2J\\u009b\\u007f"'),
        ("\u2028\u202e\ud800", '"\\u2028\\u202e\\ud800"'),
        ("Zoë", '"Zoë"'),
        ("/bin/sh", "/bin/sh"),
        (True, "true"),
    ],
)
def test_a_value_is_quoted_and_escaped_if_needed(value: object, written: str) -> None:
    assert quote(value) == written


@given(st.text(st.characters()))
def test_no_value_can_end_its_line_or_its_quotes(text: str) -> None:
    written = quote(text)
    assert written.isprintable()
    assert json.loads(written if written.startswith('"') else f'"{written}"') == text


def test_a_stuck_reader_does_not_block_the_logger_and_dropped_lines_are_counted(pipe: Pipe) -> None:
    pipe.sink.start()
    logged = MAX_QUEUED_LINES * 3
    for number in range(logged):
        pipe.log.info("event", number=number, filler="x" * 500)
    received, accounted = b"", 0
    while accounted < logged:  # reading starts only now
        received += os.read(pipe.reader, 1 << 16)
        lines = received[: received.rfind(b"\n")]
        dropped = re.findall(rb'msg="log lines dropped: stderr was stuck" count=(\d+)', lines)
        accounted = lines.count(b"msg=event") + sum(map(int, dropped))
    pipe.sink.close()
    assert accounted == logged
    assert dropped


def test_closing_writes_all_queued_lines(pipe: Pipe) -> None:
    pipe.sink.start()
    for number in range(50):
        pipe.log.info("event", number=number)
    assert len(pipe.lines()) == 50


def test_closing_does_not_wait_for_a_stuck_reader(pipe: Pipe) -> None:
    pipe.sink.start()
    for _ in range(MAX_QUEUED_LINES):
        pipe.log.info("event", filler="x" * 500)
    pipe.sink.close(timeout=0.01)


def test_a_closed_stderr_is_not_an_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    Logger(LogSink(writer), {}).info("nobody reads this")
    os.close(writer)


def test_warnings_of_the_standard_library_are_logged_while_started(pipe: Pipe) -> None:
    pipe.sink.configure("json")
    pipe.sink.start()
    logging.getLogger("asyncio").error("Task exception was never %s", "retrieved")
    logging.getLogger("asyncio").info("not this")
    (line,) = pipe.lines()
    event = json.loads(line)
    assert (event["level"], event["msg"], event["logger"]) == ("error", "Task exception was never retrieved", "asyncio")


def test_warnings_of_the_standard_library_are_not_logged_after_closing(pipe: Pipe) -> None:
    pipe.sink.start()
    pipe.sink.close()
    logging.getLogger("asyncio").error("too late")
    assert pipe.lines() == []
