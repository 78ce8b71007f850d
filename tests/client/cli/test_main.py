"""`farhand` prints help, and for each mistake one message and an exit code."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import DEVNULL
from functools import partial
from pathlib import Path

import pytest

from farhand_client import Exited
from tests.support.command import FARHAND, farhand
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


async def test_help_and_version_are_printed_on_stdout() -> None:
    assert (await farhand("--version")).stdout.startswith(b"farhand 0.")
    for line in (["--help"], ["run", "--help"], ["ping", "--help"], ["trust", "--help"], ["local", "--help"]):
        done = await farhand(*line)
        assert (done.code, done.stderr) == (0, b"")
        assert b"usage: farhand" in done.stdout


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


async def closed(fd: int, *line: str) -> int | None:
    """Return the exit code of `farhand` started without the descriptor `fd`."""
    process = await asyncio.create_subprocess_exec(
        *FARHAND, *line, stdout=DEVNULL, stderr=DEVNULL, preexec_fn=partial(os.close, fd)
    )
    return await asyncio.wait_for(process.wait(), 30)


@pytest.mark.parametrize("line", SPOKEN, ids=" ".join)
async def test_a_closed_stdout_acts_like_dev_null(service: FakeService, line: list[str]) -> None:
    service.behave = over
    assert await closed(1, *(service.host if word == "HOST" else word for word in line)) == 0


async def test_a_closed_stderr_does_not_change_the_exit_code() -> None:
    assert await closed(2, "ps", "unix:/nowhere/s") == 255
    assert await closed(2, "nope") == 2
