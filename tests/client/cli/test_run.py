"""`farhand run`: the request it sends, and the exit code for each outcome."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from farhand_client import Exited, Killed, Signaled, SpawnFailed, TimedOut
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.features import FEATURES
from farhand_protocol.limits import KiB, MiB
from tests.support.command import farhand
from tests.support.fake_runs import ID
from tests.support.fake_service import FakeRun, FakeService, refusing, succeed


async def test_arguments_arrive_unchanged(service: FakeService) -> None:
    arguments = [b"printf", b"", b"a b", b"$HOME", b"*", b"it's", b"new\nline", b"-n", b"--", b"\xff\xfe"]
    done = await farhand("run", service.host, "--", *arguments)
    assert (done.code, done.stdout, done.stderr) == (0, b"", b"")
    assert service.runs[0].request.argv == tuple(arguments)
    assert service.runs[0].request.stdin is False


async def test_options_appear_in_the_request(service: FakeService) -> None:
    line = ["--cwd", "dir", "-e", "A=1=2", "-e", "LOCAL", "-e", "UNSET", "--timeout", "2.5", "--kill-after", "0"]
    env = {**os.environ, "LOCAL": "\udcff"}
    env.pop("UNSET", None)
    done = await farhand("run", *line, "--merge", "--shell", service.host, "echo $HOME", env=env)
    assert done.code == 0
    request = service.runs[0].request
    assert (request.shell, request.argv, request.cwd) == (b"echo $HOME", None, b"dir")
    assert request.env == ((b"A", b"1=2"), (b"LOCAL", b"\xff"))
    assert (request.timeout, request.kill_after, request.merge_stderr) == (2.5, 0, True)


async def test_the_request_says_what_happens_on_disconnect(service: FakeService) -> None:
    line = ["--id", ID, "--on-disconnect", "keep", "--grace", "5", "--idle-timeout", "7", "--buffer", "spool=1M"]
    limits = ["--limit", "memory=512M,cpu=1.5,processes=50", "--limit", "files=100,file-size=1G,output=10k"]
    assert (await farhand("run", *line, *limits, service.host, "prog")).code == 0
    request = service.runs[0].request
    assert (request.id, request.on_disconnect, request.grace, request.idle_timeout) == (ID, "keep", 5, 7)
    assert request.spool == MiB
    assert request.bounds == m.Bounds(
        memory=512 * MiB, cpu=1.5, processes=50, files=100, file_size=1024 * MiB, output=10 * KiB
    )


async def test_processes_left_behind_are_named_on_stderr_and_in_the_status(service: FakeService) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        left = m.LeftProcesses(count=2, names=("sleep", "ssh-agent"), stopped=True)
        run.ended(Exited(code=7), left_processes=left)

    service.behave = behave
    done = await farhand("run", "--status-json", "-", service.host, "prog")
    sentence, status = done.stderr.decode().splitlines()
    said = "2 processes left behind were stopped: sleep, ssh-agent; --leave-processes or policy keeps them"
    assert (done.code, sentence) == (7, f"farhand: {said}")
    assert json.loads(status)["left_processes"]["names"] == ["sleep", "ssh-agent"]


async def test_leaving_processes_is_requested_only_from_a_service_that_knows_it(service: FakeService) -> None:
    done = await farhand("run", "--leave-processes", service.host, "prog")
    assert (done.code, service.runs) == (255, [])
    assert b"cannot leave the processes of a run running: its farhandd is older" in done.stderr
    service.features = FEATURES
    assert (await farhand("run", "--leave-processes", service.host, "prog")).code == 0
    assert service.runs[0].request.leave_processes


@pytest.mark.parametrize(
    ("outcome", "code", "output"),
    [
        (Exited(code=255), 255, b""),
        (Signaled(signal=9), 137, b""),
        (TimedOut(timeout=1.0, signal=15), 124, b"farhand: the command was stopped after 1 seconds\n"),
        (
            Killed(reason="draining", signal=15),
            143,
            b"farhand: the command was stopped because the service shut down\n",
        ),
        (
            SpawnFailed(errno=2, error="ENOENT", what="program", message="there is no prog"),
            127,
            b"farhand: there is no prog\n",
        ),
    ],
)
async def test_every_outcome_has_its_exit_code_and_status(
    service: FakeService, tmp_path: Path, outcome: Any, code: int, output: bytes
) -> None:
    async def behave(run: FakeRun) -> None:
        if not isinstance(outcome, SpawnFailed):
            run.started()
        run.ended(outcome)

    service.behave = behave
    done = await farhand("run", "--status-json", str(tmp_path / "s"), service.host, "prog")
    assert (done.code, done.stdout, done.stderr) == (code, b"", output)
    status = json.loads((tmp_path / "s").read_text())
    assert status | outcome.model_dump(exclude_none=True) == status
    assert status["run_id"] == service.runs[0].request.id


async def test_a_line_for_a_shell_is_answered_with_the_command_that_runs_it(
    service: FakeService, tmp_path: Path
) -> None:
    async def behave(run: FakeRun) -> None:
        run.ended(SpawnFailed(errno=2, error="ENOENT", what="program", message="there is no such program"))

    service.behave = behave
    done = await farhand("run", "--status-json", str(tmp_path / "s"), "-e", "A=b c", service.host, "ls -l | head -1")
    line = f"farhand run --shell --status-json {tmp_path}/s -e 'A=b c' {service.host} 'ls -l | head -1'"
    assert done.code == 127
    assert done.stderr.decode() == f"farhand: there is no such program\n  to run it in a shell: {line}\n"
    assert json.loads((tmp_path / "s").read_text())["message"] == "there is no such program"
    # With --shell it is the shell that was not found.
    done = await farhand("run", "--shell", service.host, "ls -l | head -1")
    assert done.stderr == b"farhand: there is no such program\n"


async def die(run: FakeRun) -> None:
    run.started()
    await run.write("stdout", b"half")
    assert run.client.transport is not None
    run.client.transport.close()


@pytest.mark.parametrize(
    ("behave", "kind", "may_have_run", "stdout"),
    [
        (die, "ConnectionLost", True, b"half"),
        (refusing(ErrorCode.DENIED, "not for you"), "RequestRefused", True, b""),
    ],
)
async def test_client_failures_exit_with_255_and_the_status_distinguishes_them(
    service: FakeService, behave: Any, kind: str, may_have_run: bool, stdout: bytes
) -> None:
    service.behave = behave
    done = await farhand("run", "--reconnect", "0", "--status-json", "-", service.host, "prog")
    assert (done.code, done.stdout) == (255, stdout)
    output, line = done.stderr.splitlines()
    assert output.startswith(b"farhand: ")
    status = json.loads(line)
    assert (status["status"], status["error"]["type"], status["may_have_run"]) == ("failed", kind, may_have_run)


async def test_success_prints_nothing(service: FakeService) -> None:
    service.behave = succeed
    done = await farhand("run", service.host, "true")
    assert (done.code, done.stdout, done.stderr) == (0, b"", b"")
