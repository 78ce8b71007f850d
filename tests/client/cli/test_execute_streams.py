"""`farhand run` copies stdin, stdout and stderr byte for byte, and reports if it cannot."""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from farhand_client import Exited
from farhand_protocol import messages as m
from farhand_protocol.limits import KiB, MiB
from tests.support.command import farhand, running
from tests.support.fake_runs import STOPPED, echo, ready_until_stopped
from tests.support.fake_service import FakeRun, FakeService


async def test_output_is_copied_byte_for_byte(service: FakeService) -> None:
    data = os.urandom(3 * MiB)

    async def behave(run: FakeRun) -> None:
        run.started()
        await asyncio.gather(run.write("stdout", data), run.write("stderr", data[::-1]))
        run.ended(Exited(code=7))

    service.behave = behave
    done = await farhand("run", service.host, "prog")
    assert done.code == 7
    assert done.stdout == data
    assert done.stderr == data[::-1]


async def test_output_can_be_redirected_to_a_file(service: FakeService, tmp_path: Path) -> None:
    data = os.urandom(3 * MiB)

    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", data)
        run.ended()

    service.behave = behave
    with (tmp_path / "out").open("wb") as out:
        assert (await farhand("run", service.host, "prog", stdout=out)).code == 0
    assert (tmp_path / "out").read_bytes() == data


async def test_stdin_is_passed_on_only_with_the_option(service: FakeService) -> None:
    service.behave = echo
    data = os.urandom(2 * MiB)
    assert (await farhand("run", "-i", service.host, "cat", input=data)).stdout == data
    assert (await farhand("run", service.host, "cat", input=b"not mine")).stdout == b""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], b"farhand: stdin was not passed on; -i passes it, -n silences this\n"),
        (["-t"], b"farhand: stdin was not passed on; -i passes it, -n silences this\n"),
        (
            ["--detach"],
            b"farhand: stdin was not passed on: a detached command has none; -i --on-disconnect keep passes",
        ),
        (["-n"], b""),
        (["-n", "--detach"], b""),
        (["-i"], b""),
    ],
)
async def test_data_on_stdin_that_is_not_passed_on_is_reported_once(
    service: FakeService, options: list[str], message: bytes
) -> None:
    service.behave = echo
    done = await farhand("run", *options, service.host, "cat", input=b"for cat")
    assert done.code == 0
    assert done.stderr.startswith(message)
    assert done.stderr.count(b"\n") == (1 if message else 0)


async def test_data_on_stdin_that_comes_late_is_reported_at_the_end(service: FakeService) -> None:
    started, written = asyncio.Event(), asyncio.Event()

    async def behave(run: FakeRun) -> None:
        run.started()
        started.set()
        await written.wait()
        run.ended()

    service.behave = behave
    async with running("run", service.host, "cat", stdin=subprocess.PIPE) as process:
        await started.wait()
        assert process.stdin is not None
        process.stdin.write(b"late")
        await process.stdin.drain()
        written.set()
        _, stderr = await process.communicate()
    assert (process.returncode, stderr) == (0, b"farhand: stdin was not passed on; -i passes it, -n silences this\n")


async def test_stdin_can_be_a_file(service: FakeService, tmp_path: Path) -> None:
    service.behave = echo
    (tmp_path / "in").write_bytes(bytes(range(256)) * KiB)
    with (tmp_path / "in").open("rb") as file:
        done = await farhand("run", "-i", service.host, "cat", stdin=file)
    assert done.stdout == bytes(range(256)) * KiB


async def test_a_command_that_ends_does_not_wait_for_stdin(service: FakeService) -> None:
    async with running("run", "-i", service.host, "true", stdin=subprocess.PIPE) as process:
        assert await process.wait() == 0


async def test_an_unreadable_stdin_stops_the_run(service: FakeService) -> None:
    service.behave = ready_until_stopped
    with Path("/proc/self/mem").open("rb") as memory:  # page 0 cannot be read
        done = await farhand("run", "-i", service.host, "cat", stdin=memory)
    assert done.code == 255
    assert b"cannot read stdin: Input/output error" in done.stderr
    assert m.Stop() in service.runs[0].messages


async def test_a_closed_stdout_stops_the_run(service: FakeService) -> None:
    async def yes(run: FakeRun) -> None:
        run.started()
        await asyncio.wait(
            [asyncio.ensure_future(run.write("stdout", b"y\n" * 10 * MiB)), asyncio.ensure_future(run.until(m.Stop))],
        )
        run.ended(STOPPED)

    service.behave = yes
    reading, writing = os.pipe()
    async with running("run", service.host, "yes", stdout=writing) as process:
        os.close(writing)
        assert await asyncio.to_thread(os.read, reading, 2) == b"y\n"
        os.close(reading)
        _, stderr = await process.communicate()
        assert (process.returncode, stderr) == (141, b"")


async def test_a_full_disk_exits_with_255(service: FakeService) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", b"x" * 100)
        await run.until(m.Stop)
        run.ended(STOPPED)

    service.behave = behave
    with Path("/dev/full").open("wb") as full:
        done = await farhand("run", service.host, "prog", stdout=full)
    assert (done.code, done.stderr) == (255, b"farhand: cannot write to stdout: No space left on device\n")


CLOSED = """
import os, sys
os.closerange(0, 3)
from farhand_client.cli import main
sys.argv = ["farhand", "nope"]
main()
os._exit(7 if all(os.readlink(f"/proc/self/fd/{fd}") == "/dev/null" for fd in range(3)) else 1)
"""


def test_closed_standard_files_do_not_become_the_connection() -> None:
    assert subprocess.run([sys.executable, "-c", CLOSED], timeout=30, check=False).returncode == 7


async def test_all_received_output_is_written_before_a_loss_is_reported(service: FakeService) -> None:
    data = os.urandom(2 * MiB)

    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", data)
        assert run.client.transport is not None
        run.client.transport.close()

    service.behave = behave
    done = await farhand("run", "--reconnect", "0", service.host, "prog")
    assert (done.code, len(done.stdout)) == (255, len(data))


async def test_output_is_written_to_a_terminal(service: FakeService) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", b"to the terminal")
        run.ended()

    service.behave = behave
    ours, theirs = pty.openpty()
    try:
        assert (await farhand("run", service.host, "prog", stdout=theirs)).code == 0
        assert os.read(ours, 100) == b"to the terminal"
    finally:
        os.close(ours)
        os.close(theirs)
