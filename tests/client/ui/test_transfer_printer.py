"""What the user reads of a transfer, and its events as JSON."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Any

import pytest

from farhand_client.connection.reconnecting import Outage
from farhand_client.errors import ConnectionLost
from farhand_client.transferred import Transferred
from farhand_client.ui.outages import OUTAGE_NOTICE_DELAY, OutageNotice
from farhand_client.ui.transfer_printer import (
    MAX_FAILURES,
    JsonPrinter,
    TransferPrinter,
    checksum_name,
    event_report,
    failure_sentence,
    has_progress,
    summary,
    transferred_report,
)
from farhand_files import wire
from farhand_files.events import Event, Finished, Found, Moved, Placed, Removed, Trouble
from farhand_files.wire import DIRECTORY, HARDLINK, REGULAR, SYMLINK
from tests.support.clock import virtual_time

DIGEST = bytes(range(32))
FAILURE = Trouble(b"/srv/x", 28, "no space left on device", True)


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(os, "isatty", lambda fd: True)


def reported(report: TransferPrinter, *events: Event, transferred: Transferred | None = None) -> int:
    with report.shown(OutageNotice("web").through):
        for event in events:
            report.note(event)
    return report.finish(transferred or Transferred())


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "0 files, 0 bytes, 0 failed in 0.00s"),
        ({"others": 1}, "0 files, 0 bytes, 1 directory or link, 0 failed in 0.00s"),
        ({"others": 2}, "0 files, 0 bytes, 2 directories and links, 0 failed in 0.00s"),
        (
            {"files": 3, "bytes": 1288490189, "sent": 1288490189, "seconds": 2.1},
            "3 files, 1.2 GiB, 0 failed in 2.10s, 585 MiB/s",
        ),
        (
            {"files": 1, "bytes": 10 << 20, "sent": 0, "kept": 10 << 20, "skipped": 7, "deleted": 2, "failed": 1},
            "1 file, 10 MiB (10 MiB were there, 0 bytes sent), 7 up to date, 2 deleted, 1 failed in 0.00s",
        ),
    ],
)
def test_a_summary_is_one_line(fields: dict[str, Any], text: str) -> None:
    assert summary(Transferred(**fields)) == text


def test_a_failure_names_the_side_and_the_path() -> None:
    assert failure_sentence(FAILURE, "web") == "web:/srv/x: no space left on device"
    assert (
        failure_sentence(FAILURE._replace(remote=False, path=b"\x1b\xff"), "web")
        == "\\x1b\\xff: no space left on device"
    )


@pytest.mark.parametrize(
    ("path", "name", "begin"),
    [(b"a b", b"a b", b""), (b"\xff", b"\xff", b""), (b"a\n\\b\r", b"a\\n\\\\b\\r", b"\\")],
)
def test_names_are_escaped_as_sha256sum_does(path: bytes, name: bytes, begin: bytes) -> None:
    assert checksum_name(path) == (name, begin)


def test_success_is_silent_without_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    assert reported(TransferPrinter("web"), Finished(b"a", 1, 1, 0, DIGEST), Removed(b"b")) == 0
    assert capfd.readouterr() == ("", "")


def test_only_what_is_shown_is_wanted() -> None:
    assert TransferPrinter("web").wanted == TransferPrinter("web", quiet=True).wanted == (Trouble,)
    for report in (TransferPrinter("web", verbose=True), TransferPrinter("web", sha256=True)):
        assert set(report.wanted) == {Trouble, Finished, Removed, Placed}
    assert set(TransferPrinter("web", dry_run=True).wanted) == {Trouble, Finished, Removed, Placed}


def test_failures_are_bounded_and_counted(capfd: pytest.CaptureFixture[str]) -> None:
    assert reported(TransferPrinter("web", quiet=True), *[FAILURE] * (MAX_FAILURES + 5)) == 1
    lines = capfd.readouterr().err.splitlines()
    assert lines[:-2] == ["farhand: web:/srv/x: no space left on device"] * MAX_FAILURES
    assert lines[-2:] == ["farhand: … and 5 more", f"farhand: {MAX_FAILURES + 5} files failed"]


@pytest.mark.parametrize(
    ("destination", "path", "shown"),
    [
        (b"/proc/x", b"big", "web:/proc/x: big"),
        (b"/proc/x", b"", "web:/proc/x"),
        (b"/proc/x", b"/proc/x/y", "web:/proc/x/y"),
        (b"in\x1b", b"site/a", "web:in\\x1b/site/a"),
        (b"/srv/", b"a", "web:/srv/a"),
        (b"in", b"in/a", "web:in/a"),
        (None, b"log", "web:log"),
    ],
)
def test_a_failure_of_what_is_put_is_shown_with_its_destination(
    destination: bytes | None, path: bytes, shown: str, capfd: pytest.CaptureFixture[str]
) -> None:
    report = TransferPrinter("web", destination=destination)
    assert reported(report, Trouble(path, 13, "Permission denied", True)) == 1
    assert capfd.readouterr().err.splitlines()[0] == f"farhand: {shown}: permission denied"
    local = Trouble(b"site/a", 13, "Permission denied", False)
    assert reported(TransferPrinter("web", destination=destination), local) == 1
    assert capfd.readouterr().err.splitlines()[0] == "farhand: site/a: permission denied"


def test_a_notice_is_named_and_is_no_failure(capfd: pytest.CaptureFixture[str]) -> None:
    notice = Trouble(b"/srv/sock", 0, "this is a socket, which is not transferred", True)
    assert reported(TransferPrinter("web"), notice) == 0
    assert capfd.readouterr().err == "farhand: web:/srv/sock: this is a socket, which is not transferred\n"
    assert reported(TransferPrinter("web", quiet=True), *[notice] * (MAX_FAILURES + 5)) == 0
    assert capfd.readouterr().err == ""
    assert reported(TransferPrinter("web"), *[notice] * (MAX_FAILURES + 5)) == 0
    assert capfd.readouterr().err.splitlines()[MAX_FAILURES:] == ["farhand: … and 5 more of which nothing has failed"]
    assert event_report(notice)["event"] == "notice"
    assert event_report(FAILURE)["event"] == "failed"


def test_a_failure_of_the_other_side_counts_without_an_event(capfd: pytest.CaptureFixture[str]) -> None:
    assert reported(TransferPrinter("web"), transferred=Transferred(failed=1)) == 1
    assert capfd.readouterr().err == "farhand: 1 file failed\n"


def test_what_cannot_be_written_to_stdout_is_named_as_that(capfd: pytest.CaptureFixture[str]) -> None:
    trouble = Trouble(b"-/a", 28, "no space left on device", False)
    assert reported(TransferPrinter("web", digests=2), trouble) == 1
    assert capfd.readouterr().err == "farhand: stdout: no space left on device\nfarhand: 1 file failed\n"
    with pytest.raises(BrokenPipeError):
        TransferPrinter("web", digests=2).note(trouble._replace(errno=32))
    reported(TransferPrinter("web", digests=2), *[trouble] * (MAX_FAILURES + 5))
    assert capfd.readouterr().err.splitlines()[MAX_FAILURES:] == [
        "farhand: … and 5 more",
        f"farhand: {MAX_FAILURES + 5} files failed",
    ]


def test_verbose_lines_go_where_they_were_directed(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    finished = Finished(b"a\xff", 1, 1, 0, DIGEST, DIGEST)
    reported(TransferPrinter("web", verbose=True, sha256=True), finished, Removed(b"b"))
    reported(TransferPrinter("web", sha256=True, digests=2), finished)
    out, err = capfdbinary.readouterr()
    line = DIGEST.hex().encode() + b"  a\xff\n"
    assert out == b"BLAKE3 " + line + line + b"deleted b\n"
    assert err.endswith(line)


def test_a_dry_run_lists_what_would_be_done(capfd: pytest.CaptureFixture[str]) -> None:
    printer = TransferPrinter("web", destination=b"d", dry_run=True, verbose=True)
    reported(printer, Finished(b"a", 1, 0, 0, b""), Removed(b"b"))
    assert capfd.readouterr() == (
        "would send a\nwould delete b\n",
        "farhand: dry run: 0 files, 0 bytes, 0 failed in 0.00s\n",
    )


@pytest.mark.parametrize(
    ("kind", "change", "would", "did"),
    [
        (wire.DIRECTORY, wire.NEW, "would make a/", "made a/"),
        (wire.SYMLINK, wire.NEW, "would link a", "linked a"),
        (wire.HARDLINK, wire.NEW, "would link a", "linked a"),
        (wire.SYMLINK, wire.REPLACED, "would replace a by a symbolic link", "replaced a by a symbolic link"),
        (wire.DIRECTORY, wire.REPLACED, "would replace a by a directory", "replaced a by a directory"),
        (wire.HARDLINK, wire.REPLACED, "would replace a by a hard link", "replaced a by a hard link"),
        (wire.REGULAR, wire.ATTRIBUTES, "would set mode and time of a", "set mode and time of a"),
        (wire.DIRECTORY, wire.ATTRIBUTES, "would set mode and time of a/", "set mode and time of a/"),
    ],
)
def test_directories_links_and_attributes_are_listed(
    kind: int, change: int, would: str, did: str, capfd: pytest.CaptureFixture[str]
) -> None:
    placed = Placed(b"a", kind, change)
    TransferPrinter("web", dry_run=True).note(placed)
    TransferPrinter("web", verbose=True).note(placed)
    TransferPrinter("web").note(placed)
    assert capfd.readouterr() == (f"{would}\n{did}\n", "")


def test_the_destination_itself_is_a_dot(capfd: pytest.CaptureFixture[str]) -> None:
    TransferPrinter("web", dry_run=True).note(Placed(b"", wire.DIRECTORY, wire.NEW))
    assert capfd.readouterr().out == "would make ./\n"


def test_a_placed_link_is_an_event_in_json() -> None:
    assert event_report(Placed(b"a", wire.SYMLINK, wire.REPLACED)) == {
        "event": "placed",
        "path": "a",
        "kind": "symlink",
        "change": "replaced",
    }


@pytest.mark.usefixtures("at_terminal")
@virtual_time
async def test_progress_is_shown_on_a_terminal_and_lines_stay_above_it(capfd: pytest.CaptureFixture[str]) -> None:
    report = TransferPrinter("web", verbose=True)
    with report.shown(OutageNotice("web").through):
        report.note(Found(b"a", REGULAR, 1))
        report.note(Finished(b"\x1b", 1, 1, 0, DIGEST))
        report.note(FAILURE)
    report.finish(Transferred(files=1, bytes=1, failed=1))
    out, err = capfd.readouterr()
    assert out == f"BLAKE3 {DIGEST.hex()}  \\x1b\n", "a name must not control the terminal"
    assert "farhand: web:/srv/x: no space left on device\n" in err
    assert err.endswith("farhand: 1 file, 1 byte, 1 failed in 0.00s\n")


@pytest.mark.usefixtures("at_terminal")
@virtual_time
async def test_an_outage_is_reported_above_the_progress(capfd: pytest.CaptureFixture[str]) -> None:
    outage = OutageNotice("web")
    with TransferPrinter("web").shown(outage.through):
        outage(Outage(ConnectionLost("cut"), 86400.0))
        await asyncio.sleep(2 * OUTAGE_NOTICE_DELAY)
        outage(None)
    err = capfd.readouterr().err
    assert "farhand: connection to web lost; reconnecting (for up to 24 h)\n" in err
    assert "farhand: connected to web again\n" in err


@pytest.mark.usefixtures("at_terminal")
@pytest.mark.parametrize("term", [None, "", "dumb"])
def test_a_terminal_that_cannot_move_the_cursor_has_no_progress(
    term: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert has_progress()
    if term is None:
        monkeypatch.delenv("TERM")
    else:
        monkeypatch.setenv("TERM", term)
    assert not has_progress()


@pytest.mark.parametrize("closed", [1, 2])
def test_there_is_no_progress_unless_stdout_and_stderr_are_terminals(
    closed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(os, "isatty", lambda fd: fd != closed)
    assert not has_progress()


def test_events_and_totals_are_json(capfd: pytest.CaptureFixture[str]) -> None:
    report = JsonPrinter()
    with report.shown(lambda show: contextlib.nullcontext()):
        report.note(Moved(b"a", 2, 1))
    assert report.finish(Transferred()) == 0
    assert report.finish(Transferred(failed=1)) == 1
    assert capfd.readouterr().out.startswith('{"event": "moved", "path": "a", "done": 2, "sent": 1}\n{"event": "done"')
    assert event_report(Found(b"\xff", DIRECTORY, 0))["path"] == {"base64": "/w=="}
    assert [event_report(Found(b"a", kind, -1))["kind"] for kind in (REGULAR, SYMLINK, HARDLINK)] == [
        "file",
        "symlink",
        "hardlink",
    ]
    assert event_report(Finished(b"a", 1, 1, 0, DIGEST, DIGEST))["sha256"] == DIGEST.hex()
    assert transferred_report(Transferred(files=2))["files"] == 2
