"""A failed start is an outcome with the reason, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from farhand_protocol.outcome import Exited, SpawnFailed
from tests.support.client import TIMEOUT, RawClient
from tests.support.processes import children, descriptors
from tests.support.service import Service


def failure(outcome: object) -> tuple[str, int, str]:
    """Return error, errno and `what` of the outcome."""
    assert isinstance(outcome, SpawnFailed), outcome
    assert outcome.message
    return outcome.error, outcome.errno, outcome.what


async def no_more_descriptors(core: Service, client: RawClient, before: int) -> None:
    """Wait until the service has no more descriptors than `before`."""
    async with asyncio.timeout(TIMEOUT):
        while descriptors(core.process.pid) > before:
            await client.round_trip()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with programs that cannot be run."""
    (tmp_path / "plain").write_text("echo no\n")
    (tmp_path / "no-format").write_text("echo no\n")
    (tmp_path / "no-format").chmod(0o755)
    (tmp_path / "no-interpreter").write_text("#!/does/not/exist\n")
    (tmp_path / "no-interpreter").chmod(0o755)
    (tmp_path / "directory").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


@pytest.mark.parametrize(
    ("program", "number"),
    [
        ("no-such-program", errno.ENOENT),
        ("./no-such-program", errno.ENOENT),
        ("/no/such/program", errno.ENOENT),
        ("./plain", errno.EACCES),
        ("./directory", errno.EACCES),
        ("./no-format", errno.ENOEXEC),
        ("./no-interpreter", errno.ENOENT),
        ("./plain/below", errno.ENOTDIR),
        ("./loop", errno.ELOOP),
        ("", errno.EACCES),
        ("x" * 5000, errno.ENAMETOOLONG),
        (b"\xff\xfe", errno.ENOENT),
        (b"\xff" * 4000, errno.ENAMETOOLONG),
    ],
)
async def test_a_program_that_cannot_be_run_has_its_reason_in_the_outcome(
    client: RawClient, files: Path, program: str | bytes, number: int
) -> None:
    ended, run = await client.run(program, "argument", cwd=os.fsencode(files))
    assert failure(ended.outcome) == (errno.errorcode[number], number, "program")
    assert (ended.stdout, ended.stderr) == (0, 0)
    assert run.transcript == ["ended"]


@pytest.mark.parametrize(
    ("directory", "number"),
    [
        (b"/no/such/directory", errno.ENOENT),
        (b"not-there-either", errno.ENOENT),
        (b"/etc/passwd", errno.ENOTDIR),
        (b"/" + b"x" * 300, errno.ENAMETOOLONG),
        (b"/caf\xe9", errno.ENOENT),
    ],
)
async def test_a_directory_that_cannot_be_entered_is_named_in_the_outcome(
    client: RawClient, directory: bytes, number: int
) -> None:
    ended, _ = await client.run("true", cwd=directory)
    assert failure(ended.outcome) == (errno.errorcode[number], number, "directory")


@pytest.mark.parametrize(
    ("program", "directory", "sentence"),
    [
        ("größe\n".encode(), b"/", r"cannot run the program 'größe\n': No such file or directory"),
        (b"caf\xe9", b"/", r"cannot run the program 'caf\udce9': No such file or directory"),
        (b"true", "/日本".encode(), "cannot start in the directory '/日本': No such file or directory"),
    ],
)
async def test_names_are_readable_in_the_outcome_whatever_their_bytes(
    client: RawClient, program: bytes, directory: bytes, sentence: str
) -> None:
    ended, _ = await client.run(program, cwd=directory)
    assert isinstance(ended.outcome, SpawnFailed)
    assert ended.outcome.message == sentence


async def test_a_missing_directory_is_not_mistaken_for_a_missing_program(client: RawClient) -> None:
    ended, _ = await client.run("/no/such", cwd=b"/no/such")
    assert failure(ended.outcome) == ("ENOENT", errno.ENOENT, "directory")


async def test_a_command_line_that_is_too_long_has_its_reason_in_the_outcome(client: RawClient) -> None:
    ended, _ = await client.run("true", "x" * (256 << 10))
    assert failure(ended.outcome) == ("E2BIG", errno.E2BIG, "process")


async def test_stdin_for_a_program_that_did_not_start_is_dropped(client: RawClient) -> None:
    run = client.start("no-such-program", stdin=True)
    run.write(b"x" * 1_000_000)
    assert failure((await run.ended()).outcome)[0] == "ENOENT"


ROUNDS = [2, pytest.param(20, marks=pytest.mark.long)]
"""Of fifty runs at once."""


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("argument", ["", "x" * (129 << 10)], ids=["ENOENT", "E2BIG"])
async def test_many_failures_leave_no_descriptor_and_no_process(core: Service, argument: str, rounds: int) -> None:
    program = "true" if argument else "no-such-program"
    async with RawClient.connect(core.socket) as client:
        await client.run(program, argument)
        before = descriptors(core.process.pid)
        for _ in range(rounds):
            for run in [client.start(program, argument, stdin=True) for _ in range(50)]:
                assert failure((await run.ended()).outcome)[0] == ("E2BIG" if argument else "ENOENT")
        await no_more_descriptors(core, client, before)
        assert children(core.process.pid) == []


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_many_runs_leave_no_descriptor_and_no_zombie(core: Service, rounds: int) -> None:
    async with RawClient.connect(core.socket) as client:
        await client.run("true")
        before = descriptors(core.process.pid)
        for _ in range(rounds):
            for run in [client.start("true", stdin=True) for _ in range(50)]:
                assert (await run.ended()).outcome == Exited(code=0)
        await no_more_descriptors(core, client, before)
        assert children(core.process.pid) == []
