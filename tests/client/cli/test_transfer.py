"""What a transfer prints, and with which exit code it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from farhand_client.cli.commands import run_command
from farhand_client.errors import ConnectionLost, TransferInterrupted, TransferRefused
from farhand_client.transferred import Transferred
from farhand_files.events import Begun, Finished, Found, FoundAll, Moved, Placed, Removed, Skipped, Trouble
from farhand_files.wire import DIRECTORY, NEW, REGULAR
from tests.support.fake_transfers import FakeTransferClient

DIGEST = bytes(range(32))
LINE = ["put", "web", "a", "b"]


def failures(number: int) -> list[Trouble]:
    return [Trouble(b"/srv/f%d" % each, 28, "no space left on device", True) for each in range(number)]


def test_success_is_silent_without_a_terminal(transfers: FakeTransferClient, capfd: pytest.CaptureFixture[str]) -> None:
    transfers.events = [Found(b"a", REGULAR, 9), Finished(b"a", 9, 9, 0, DIGEST)]
    transfers.transferred = Transferred(files=1, bytes=9, sent=9)
    assert run_command([*LINE]) == 0
    assert capfd.readouterr() == ("", "")


def test_failures_are_named_and_counted(transfers: FakeTransferClient, capfd: pytest.CaptureFixture[str]) -> None:
    transfers.events = [*failures(1), Trouble(b"a\n\xff", 13, "permission denied", False)]
    transfers.events += [Trouble(b"a", 2, "no such file or directory", True)]
    transfers.transferred = Transferred(failed=3)
    assert run_command([*LINE]) == 1
    assert capfd.readouterr().err == (
        "farhand: web:/srv/f0: no space left on device\n"
        "farhand: a\\n\\xff: permission denied\n"
        "farhand: web:b: a: no such file or directory\n"
        "farhand: 3 files failed\n"
    )


def test_many_failures_are_counted_only(transfers: FakeTransferClient, capfd: pytest.CaptureFixture[str]) -> None:
    transfers.events = failures(32)
    transfers.transferred = Transferred(failed=32)
    assert run_command([*LINE, "-q"]) == 1
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 22
    assert lines[-2:] == ["farhand: … and 12 more", "farhand: 32 files failed"]


def test_digests_are_printed_as_checksum_programs_do(
    transfers: FakeTransferClient, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    transfers.events = [Finished(b"a\n\xff", 9, 9, 0, DIGEST, DIGEST), Removed(b"old")]
    transfers.transferred = Transferred(files=1, bytes=9, sent=9, deleted=1, seconds=3)
    assert run_command([*LINE, "--sha256"]) == 0
    line = b"\\" + DIGEST.hex().encode() + b"  a\\n\xff\n"
    assert capfdbinary.readouterr() == (line, b"")
    assert run_command([*LINE, "-v", "--sha256"]) == 0
    out, err = capfdbinary.readouterr()
    assert out == b"BLAKE3 " + DIGEST.hex().encode() + b"  a\\n\xff\n" + line + b"deleted old\n"
    assert err == b"farhand: 1 file, 9 bytes, 1 deleted, 0 failed in 3.00s, 3 bytes/s\n"


def test_digests_do_not_mix_with_what_is_got(
    transfers: FakeTransferClient, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    transfers.events = [Finished(b"a", 9, 9, 0, DIGEST)]
    assert run_command(["get", "web", "a", "-", "-v"]) == 0
    out, err = capfdbinary.readouterr()
    assert out == b""
    assert err.startswith(b"BLAKE3 000102")


def test_a_dry_run_says_what_would_be_done(transfers: FakeTransferClient, capfd: pytest.CaptureFixture[str]) -> None:
    transfers.events = [Finished(b"a", 9, 0, 0, b""), Removed(b"old")]
    assert run_command([*LINE, "-n"]) == 0
    assert capfd.readouterr().out == "would send a\nwould delete old\n"
    assert run_command(["get", "web", "a", "b", "-n"]) == 0
    assert capfd.readouterr().out == "would get a\nwould delete old\n"


def test_the_lines_of_a_dry_run_say_that_nothing_was_done(
    transfers: FakeTransferClient, capfd: pytest.CaptureFixture[str]
) -> None:
    transfers.events = [Finished(b"a", 9, 0, 0, bytes(32)), Placed(b"b", DIRECTORY, NEW), Removed(b"c")]
    transfers.transferred = Transferred(files=1, bytes=9)
    assert run_command([*LINE, "--json", "-n"]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["finished", "placed", "deleted", "done"]
    assert all(line["dry_run"] for line in lines)
    assert lines[0]["blake3"] is None


def test_the_source_of_what_could_not_be_written_is_named(
    transfers: FakeTransferClient, capfd: pytest.CaptureFixture[str]
) -> None:
    transfers.events = [Trouble(b"a", 28, "no space left on device", True, b"site/a")]
    run_command([*LINE, "--json"])
    failed = json.loads(capfd.readouterr().out.splitlines()[0])
    assert (failed["event"], failed["path"], failed["source"]) == ("failed", "a", "site/a")


def test_a_pipe_may_be_named_by_its_descriptor(transfers: FakeTransferClient) -> None:
    reading, writing = os.pipe()
    try:
        assert run_command(["put", "web", f"/dev/fd/{reading}", "dump"]) == 0
        assert run_command(["put", "web", f"/proc/self/fd/{reading}", "dump"]) == 0
        assert run_command(["get", "web", "dump", f"/dev/fd/{writing}"]) == 0
        assert run_command(["put", "web", "/dev/fd/999999", "dump"]) == 0
    finally:
        os.close(reading)
        os.close(writing)
    assert transfers.calls == [
        ("put", ([reading], b"dump"), {}),
        ("put", ([reading], b"dump"), {}),
        ("get", ([b"dump"], writing), {}),
        ("put", (["/dev/fd/999999"], b"dump"), {}),
    ]


def test_a_file_behind_a_descriptor_is_put_by_its_path_and_got_without_being_replaced(
    transfers: FakeTransferClient, tmp_path: Path
) -> None:
    with (tmp_path / "file").open("w+b") as file:
        name = f"/dev/fd/{file.fileno()}"
        assert run_command(["put", "web", name, "dump"]) == 0
        assert run_command(["get", "web", "dump", name]) == 0
        number = file.fileno()
    assert transfers.calls == [("put", ([name], b"dump"), {}), ("get", ([b"dump"], number), {})]


@pytest.mark.usefixtures("transfers")
def test_one_pipe_is_one_file_with_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    name = f"/dev/fd/{reading}"
    for words, said in (
        ([name, "b", "c/"], f"{name} is a pipe, which is one file; put it alone, without other SRC"),
        ([name, "c/"], f"{name} has no name; write DEST as the path of a file"),
    ):
        with pytest.raises(SystemExit, match="2"):
            run_command(["put", "web", *words])
        assert capsys.readouterr().err.endswith(f"{said}\n")
    os.close(reading)
    os.close(writing)


def test_events_are_lines_of_json(transfers: FakeTransferClient, capfd: pytest.CaptureFixture[str]) -> None:
    transfers.events = [
        Found(b"\xff", REGULAR, -1),
        FoundAll(1, 9),
        Begun(b"a", 9, 0),
        Moved(b"a", 9, 8),
        Finished(b"a", 9, 8, 1, DIGEST),
        Skipped(b"c", 5),
        Removed(b"d"),
        *failures(1),
    ]
    transfers.transferred = Transferred(files=1, bytes=9, sent=8, kept=1, skipped=1, deleted=1, failed=1, seconds=0.5)
    assert run_command([*LINE, "--json"]) == 1
    out, err = capfd.readouterr()
    assert err == ""
    assert [json.loads(line) for line in out.splitlines()] == [
        {"event": "found", "path": {"base64": "/w=="}, "kind": "file", "size": None},
        {"event": "found_all", "entries": 1, "size": 9},
        {"event": "begun", "path": "a", "size": 9, "kept": 0},
        {"event": "moved", "path": "a", "done": 9, "sent": 8},
        {"event": "finished", "path": "a", "size": 9, "sent": 8, "kept": 1, "blake3": DIGEST.hex(), "sha256": None},
        {"event": "skipped", "path": "c", "size": 5},
        {"event": "deleted", "path": "d"},
        {"event": "failed", "path": "/srv/f0", "errno": 28, "sentence": "no space left on device", "remote": True}
        | {"source": None},
        {
            "event": "done",
            "files": 1,
            "bytes": 9,
            "sent": 8,
            "kept": 1,
            "skipped": 1,
            "others": 0,
            "deleted": 1,
            "failed": 1,
            "seconds": 0.5,
        },
    ]


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (ConnectionLost("the connection was lost"), True),
        (TransferInterrupted("the worker was killed", transferred=Transferred()), False),
        (TransferRefused("not allowed", transferred=Transferred()), False),
    ],
)
def test_an_error_says_whether_the_same_command_goes_on(
    error: Exception, hint: bool, transfers: FakeTransferClient, capfd: pytest.CaptureFixture[str]
) -> None:
    transfers.error = error
    again = "; to go on, run the same command again; what has arrived is not sent again" if hint else ""
    assert run_command([*LINE]) == 255
    assert capfd.readouterr().err == f"farhand: {error}{again}\n"
    assert run_command([*LINE, "--json"]) == 255
    assert json.loads(capfd.readouterr().out) == {
        "event": "error",
        "type": type(error).__name__,
        "message": str(error),
    }


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (LINE, "stopped; to go on, run the same command again; what has arrived is not sent again"),
        (["put", "web", "-", "b"], "stopped"),
    ],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_transfer_and_the_user_learns_how_to_go_on(
    number: signal.Signals, line: list[str], said: str, transfers: FakeTransferClient, capfd: pytest.CaptureFixture[str]
) -> None:
    transfers.endless = True
    transfers.on_endless = lambda: os.kill(os.getpid(), number)
    assert run_command([*line]) == 128 + number
    assert capfd.readouterr().err == f"farhand: {said}\n"


def test_a_reader_of_stdout_that_is_gone_ends_it_silently(
    transfers: FakeTransferClient, capfd: pytest.CaptureFixture[str]
) -> None:
    transfers.error = BrokenPipeError(32, "Broken pipe")
    with pytest.raises(BrokenPipeError):
        run_command([*LINE])
    assert capfd.readouterr().err == ""


def test_what_draws_progress_is_imported_for_a_terminal_only(tmp_path: Path) -> None:
    code = (
        "import sys; from farhand_client.cli.main import main; "
        f"code = main(['put', 'unix:{tmp_path}/none', 'a', 'b']); "
        "sys.exit(code if 'rich' not in sys.modules else 'rich was imported')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (255, 1), done.stderr
