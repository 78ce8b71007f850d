"""`Client.run` returns output and outcome like `subprocess.run`, and reports truncated output."""

from __future__ import annotations

import inspect
import subprocess
from pathlib import Path
from typing import Any

import pytest

from farhand_client import Client, CommandError, CommandTimeout, Exited, Killed, Signaled, TimedOut
from farhand_protocol.limits import MiB
from tests.support.fake_runs import printing, run
from tests.support.fake_service import FakeRun


async def test_run_returns_output_and_outcome(tmp_path: Path) -> None:
    completed = await run(tmp_path, printing(b"out\xff", b"err", Exited(code=3)))
    assert (completed.args, completed.returncode, completed.stdout, completed.stderr) == (
        ["true"],
        3,
        b"out\xff",
        b"err",
    )
    assert completed.outcome == Exited(code=3)
    assert completed.duration == 0.25
    assert completed.truncated is False
    assert isinstance(completed, subprocess.CompletedProcess)


@pytest.mark.parametrize(
    ("outcome", "returncode"),
    [
        (Exited(code=0), 0),
        (Exited(code=255), 255),
        (Signaled(signal=9), -9),
        (Signaled(signal=40), -40),
        (Killed(reason="draining", signal=15), -15),
        (Killed(reason="requested", code=5), 5),
        (Killed(reason="requested", code=0), -15),  # never 0 for a run that was stopped
    ],
)
async def test_return_codes_are_those_of_subprocess(tmp_path: Path, outcome: Any, returncode: int) -> None:
    assert (await run(tmp_path, printing(outcome=outcome))).returncode == returncode


async def test_check_raises_unless_the_exit_code_is_0(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"the command \['true'\] exited with code 3") as caught:
        await run(tmp_path, printing(b"o", b"e", Exited(code=3)), check=True)
    assert isinstance(caught.value, subprocess.CalledProcessError)
    assert (caught.value.returncode, caught.value.stdout, caught.value.stderr) == (3, b"o", b"e")
    assert caught.value.outcome == Exited(code=3)


@pytest.mark.parametrize("outcome", [Signaled(signal=9), Killed(reason="draining", code=0)])
async def test_check_raises_for_a_stopped_run_that_exits_with_0(tmp_path: Path, outcome: Any) -> None:
    with pytest.raises(CommandError):
        await run(tmp_path, printing(outcome=outcome), check=True)


async def test_a_timeout_keeps_the_output_so_far(tmp_path: Path) -> None:
    behave = printing(b"half", b"why", TimedOut(timeout=2.0, signal=9))
    with pytest.raises(CommandTimeout, match="was stopped after 2 seconds") as caught:
        await run(tmp_path, behave, timeout=2)
    assert isinstance(caught.value, subprocess.TimeoutExpired)
    assert (caught.value.stdout, caught.value.stderr, caught.value.timeout) == (b"half", b"why", 2.0)


@pytest.mark.parametrize(("encoding", "data", "text"), [(None, b"\xc3\xa4\r\n", "ä\r\n"), ("latin-1", b"\xe4", "ä")])
async def test_text_is_decoded_and_newlines_are_kept(tmp_path: Path, encoding: Any, data: bytes, text: str) -> None:
    completed = await run(tmp_path, printing(data, data), text=True, encoding=encoding)
    assert (completed.stdout, completed.stderr) == (text, text)


async def test_output_that_is_not_text_raises(tmp_path: Path) -> None:
    with pytest.raises(UnicodeDecodeError):
        await run(tmp_path, printing(b"\xff"), text=True)


async def test_text_truncated_within_a_character_is_decoded(tmp_path: Path) -> None:
    completed = await run(tmp_path, printing("aä".encode()), text=True, max_output=2)
    assert (completed.stdout, completed.truncated) == ("a", True)


async def test_merged_output_has_no_stderr(tmp_path: Path) -> None:
    assert (await run(tmp_path, printing(b"both"), merge_stderr=True)).stderr is None


def test_run_keeps_64_mib_of_each_stream_by_default() -> None:
    assert inspect.signature(Client.run).parameters["max_output"].default == 64 * MiB


async def test_a_run_with_truncated_output_continues_to_its_end(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        for _ in range(9):
            await run.write("stdout", bytes(MiB))
        run.ended()

    completed = await run(tmp_path, behave, max_output=2 * MiB)
    assert (len(completed.stdout), completed.truncated, completed.returncode) == (2 * MiB, True, 0)


@pytest.mark.parametrize(("limit", "kept", "truncated"), [(0, b"", True), (4, b"1234", True), (5, b"12345", False)])
async def test_max_output_counts_each_stream(tmp_path: Path, limit: int, kept: bytes, truncated: bool) -> None:
    completed = await run(tmp_path, printing(b"12345", b"12345"), max_output=limit)
    assert (completed.stdout, completed.stderr, completed.truncated) == (kept, kept, truncated)
