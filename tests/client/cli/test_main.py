"""Whatever happens to `farhand` ends as one sentence and an exit code that is not the remote command's."""

from __future__ import annotations

import asyncio
import os
import re
from functools import partial
from pathlib import Path

import pytest

from farhand_client import Exited
from farhand_client.cli import main
from farhand_client.ui.printing import LocalError
from tests.support.command import Finished, farhand
from tests.support.fake_listing import info, listing
from tests.support.fake_runs import ID
from tests.support.fake_service import FakeRun, FakeService


@pytest.mark.parametrize(
    ("line", "code", "sentence"),
    [
        (["run", "unix:/nowhere/s", "ls"], 255, b"there is no socket at /nowhere/s"),
        (["run", "a:b:c", "ls"], 2, b"in brackets"),
        (["run", "--status-json", "/nowhere/s", "unix:/nowhere/s", "ls"], 255, b"cannot write the status"),
        (["run"], 2, b"HOST is missing"),
        (["nope"], 2, b"unknown command 'nope'"),
        ([], 2, b"no command given"),
        (["ping", "unix:/nowhere/s"], 255, b"there is no socket"),
        (["ping", "-c", "few", "unix:/nowhere/s"], 2, b"'few' is not a number from 1 to 1000"),
        (["trust", "unix:/nowhere/s"], 2, b"is a socket on this machine, which needs no host key"),
        (["local", "-x"], 2, b"unknown option -x"),
    ],
)
async def test_each_mistake_is_one_message_without_a_traceback(line: list[str], code: int, sentence: bytes) -> None:
    done = await farhand(*line)
    assert (done.code, done.stdout) == (code, b"")
    assert sentence in done.stderr
    assert b"Traceback" not in done.stderr


COMMANDS_WITH_HOST = [
    "run HOST ls",
    "run -t HOST ls",
    "run --detach HOST ls",
    "ps HOST",
    "ps --json HOST",
    f"logs HOST {ID}",
    f"attach HOST {ID}",
    f"replay HOST {ID}",
    f"export --asciicast - HOST {ID}",
    f"wait HOST {ID}",
    f"signal HOST {ID} TERM",
    f"kill HOST {ID}",
    "ping HOST",
    "trust HOST",
    "repl HOST",
]


@pytest.mark.parametrize("line", COMMANDS_WITH_HOST)
async def test_a_host_that_cannot_be_encoded_is_wrong_usage_of_every_command(line: str) -> None:
    done = await farhand(*line.replace("HOST", "a..b").split())
    assert (done.code, done.stdout) == (2, b"")
    assert done.stderr == b"farhand: 'a..b' is not a host name: there is nothing between two of its dots\n"


SPOKEN = [
    ["--help"],
    ["--version"],
    ["ps", "HOST"],
    ["ps", "--json", "HOST"],
    ["wait", "--json", "HOST", ID],
    ["kill", "HOST", ID],
    ["run", "--detach", "HOST", "ls"],
    ["ping", "HOST"],
    ["run", "--help"],
    ["local", "--help"],
]
"""Commands that print something of their own on stdout."""


async def over(run: FakeRun) -> None:
    run.started()
    run.ended(Exited(code=0))


@pytest.mark.parametrize("line", SPOKEN, ids=" ".join)
async def test_a_full_disk_at_stdout_is_reported(service: FakeService, line: list[str]) -> None:
    service.behave = over
    with Path("/dev/full").open("wb") as full:
        done = await farhand(*(service.host if word == "HOST" else word for word in line), stdout=full)
    assert done.code == 255
    assert done.stderr.startswith(b"farhand: cannot write ")
    assert done.stderr.endswith(b"to stdout: No space left on device\n")
    assert done.stderr.count(b"\n") == 1


async def test_an_unwritable_stderr_does_not_change_the_exit_code(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = await farhand("attach", f"unix:{tmp_path}/nobody", ID, stderr=full)
    assert done.code == 255


async def without(fd: int, *line: str) -> Finished:
    """Run `farhand` without the descriptor `fd`."""
    return await farhand(*line, preexec_fn=partial(os.close, fd))


UNUSED = [["run", "HOST", "ls"], ["logs", "HOST", ID], ["attach", "HOST", ID], ["replay", "HOST", ID]]
"""Commands whose stdout is the output of a run."""


@pytest.mark.parametrize("line", [*SPOKEN, *UNUSED], ids=" ".join)
async def test_a_closed_stdout_is_reported_as_a_full_disk_is(service: FakeService, line: list[str]) -> None:
    service.behave = over
    done = await without(1, *(service.host if word == "HOST" else word for word in line))
    assert done.code == 255
    assert re.fullmatch(
        rb"farhand: (cannot write .*to stdout: it is closed|stdout is not open for writing, so .*)\n", done.stderr
    )


@pytest.mark.parametrize("line", [["run", "--detach"], ["run"], ["run", "--merge"]], ids=" ".join)
async def test_with_a_closed_stdout_no_command_is_started(service: FakeService, line: list[str]) -> None:
    assert (await without(1, *line, service.host, "ls")).code == 255
    assert service.connections == []


async def test_with_a_closed_stdin_none_is_passed_on(service: FakeService) -> None:
    done = await without(0, "run", "-i", service.host, "cat")
    assert (done.code, done.stderr[:39]) == (255, b"farhand: stdin is not open for reading,")
    service.behave = over
    assert (await without(0, "run", service.host, "ls")).code == 0


async def test_a_closed_stderr_does_not_change_the_exit_code(service: FakeService) -> None:
    service.behave = over
    assert (await without(2, "ps", "unix:/nowhere/s")).code == 255
    assert (await without(2, "nope")).code == 2
    assert (await without(2, "ps", "--nope")).code == 2
    assert (await without(2, "ps", service.host)).code == 0
    assert (await without(2, "run", service.host, "ls")).code == 0


@pytest.mark.parametrize("line", [["nope"], ["ps", "--nope"], ["ps"]], ids=" ".join)
async def test_a_full_disk_at_stderr_does_not_change_the_exit_code(line: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        assert (await farhand(*line, stderr=full)).code == 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
async def test_text_that_the_terminal_cannot_show_is_escaped(
    service: FakeService, env: dict[str, str], encoding: str
) -> None:
    service.answer = listing(info(command="echo 日"))
    env |= {"PYTHONIOENCODING": encoding}
    done = await farhand("ps", service.host, env=env)
    assert (done.code, done.stderr) == (0, b"")
    assert b"echo \\u65e5" in done.stdout
    for line in ("日\udcff",), ("ps", "--日\udcff", service.host), ("ps", "a:日\udcff"):
        done = await farhand(*line, env=env)
        assert done.code == 2
        assert b"\\u65e5\\xff" in done.stderr
        assert done.stderr.isascii()


async def test_output_of_a_run_stays_as_it_is(service: FakeService, env: dict[str, str]) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", b"\xe6\x97\xa5\xff")
        run.ended(Exited(code=0))

    service.behave = behave
    assert (
        await farhand("run", service.host, "ls", env=env | {"PYTHONIOENCODING": "ascii"})
    ).stdout == b"\xe6\x97\xa5\xff"


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let every command fail with an error that nothing has foreseen."""

    def fail(arguments: list[str]) -> int:
        raise error

    monkeypatch.setattr("farhand_client.cli.commands.run_command", fail)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (KeyError("x"), "unexpected error KeyError: 'x'; this is a fault in Farhand, FARHAND_DEBUG=1 shows where"),
        (RuntimeError("can't start new thread"), "no thread can be started; a limit on processes or memory"),
        (asyncio.CancelledError(), "unexpected error CancelledError;"),
        (UnicodeEncodeError("ascii", "日", 0, 1, "ordinal not in range(128)"), "unexpected error UnicodeEncodeError:"),
    ],
    ids=repr,
)
def test_an_unforeseen_error_is_one_sentence_and_255(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, sentence: str
) -> None:
    failing(monkeypatch, error)
    assert main([]) == 255
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"farhand: {sentence}")


def test_a_report_that_fails_itself_is_still_a_line_and_255(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, KeyError("日"))

    def fail(error: BaseException) -> int:
        raise MemoryError

    monkeypatch.setattr("farhand_client.ui.failures.report_failure", fail)
    assert main([]) == 255
    assert capfd.readouterr().err == "farhand: KeyError: '\\u65e5'\n"
    failing(monkeypatch, SystemExit(2))
    assert main([]) == 2


def test_output_that_cannot_be_written_at_the_end_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise LocalError("cannot write to stdout: No space left on device")

    monkeypatch.setattr("farhand_client.ui.printing.flush_output", fail)
    assert main(["--version"]) == 255
    assert capsys.readouterr().err == "farhand: cannot write to stdout: No space left on device\n"
