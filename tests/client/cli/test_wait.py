"""`farhand wait` returns the run's exit code, or reports what its output matched."""

from __future__ import annotations

from typing import Any

import pytest

from farhand_client import Exited, SpawnFailed
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Lost
from tests.support.command import farhand, json_lines
from tests.support.fake_runs import ID, OTHER, stoppable
from tests.support.fake_service import FakeConnection, FakeRun, FakeService


async def test_wait_returns_the_exit_code_of_the_last_run(service: FakeService) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        run.ended(Exited(code=4 if run.request.id == ID else 0))

    service.behave = behave
    done = await farhand("wait", service.host, ID)
    assert (done.code, done.stdout, done.stderr) == (4, b"", b"")
    assert (await farhand("wait", service.host, ID, OTHER)).code == 0
    done = await farhand("wait", "--json", service.host, OTHER, ID)
    assert done.code == 4
    assert {line["run_id"]: line["code"] for line in json_lines(done.stdout)} == {ID: 4, OTHER: 0}


LEFT = m.LeftProcesses(count=1, names=("sl\x1b[2J",), stopped=True)


async def test_wait_says_which_processes_were_stopped_at_the_end(service: FakeService) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        run.ended(Exited(code=0), left_processes=LEFT)

    service.behave = behave
    said = "1 process left behind was stopped: sl\\x1b[2J; farhand run --leave-processes or policy keeps it"
    done = await farhand("wait", service.host, ID)
    assert (done.code, done.stderr.decode()) == (0, f"farhand: run {ID}: {said}\n")
    done = await farhand("attach", service.host, ID)
    assert (done.code, done.stderr.decode()) == (0, f"farhand: {said}\n")
    for command in ("wait", "attach"):
        done = await farhand(command, "--json", service.host, ID)
        assert (done.stderr, json_lines(done.stdout)[-1]["left_processes"]["count"]) == (b"", 1)
    done = await farhand("logs", "-f", service.host, ID)
    assert (done.code, done.stderr) == (0, b"")


async def test_wait_reports_runs_that_did_not_start_or_are_lost(service: FakeService) -> None:
    async def behave(run: FakeRun) -> None:
        if run.request.id == ID:
            run.ended(SpawnFailed(errno=2, error="ENOENT", what="program", message="nix: no such program"))
        else:
            run.ended(Lost())

    service.behave = behave
    done = await farhand("wait", service.host, ID)
    assert (done.code, done.stderr) == (127, b"farhand: nix: no such program\n")
    done = await farhand("wait", service.host, OTHER)
    assert (done.code, b"has an unknown outcome" in done.stderr) == (255, True)


async def test_wait_stops_after_its_timeout(service: FakeService) -> None:
    service.behave = stoppable
    done = await farhand("wait", "--timeout", "0.1", "--json", service.host, ID)
    assert (done.code, json_lines(done.stdout)) == (124, [{"run_id": ID, "reason": "timeout"}])
    assert not any(isinstance(message, m.Stop) for message in service.runs[-1].messages)


@pytest.mark.parametrize(("reason", "code"), [("pattern", 0), ("idle", 0), ("ended", 1)])
async def test_wait_for_output(service: FakeService, reason: Any, code: int) -> None:
    def answer(fake: FakeConnection, channel: int, question: m.AnyMessage) -> None:
        fake.send(m.Matched(reason=reason, start=5, end=9), channel)

    service.answer = answer
    line = ["--pattern", "up$", "--idle", "2.5", "--from", "5", "--stderr", "--json"]
    done = await farhand("wait", *line, service.host, ID)
    (output,) = json_lines(done.stdout)
    expected = {"run_id": ID, "stream": "stderr", "reason": reason, "start": 5, "end": 9}
    assert (done.code, output) == (code, expected | ({"pattern": "up$"} if reason == "pattern" else {}))
    assert service.questions == [m.WaitFor(id=ID, stream="stderr", offset=5, pattern=b"up$", idle=2.5)]


async def test_the_first_of_several_patterns_to_match_is_reported_and_the_others_are_cancelled(
    service: FakeService,
) -> None:
    def answer(fake: FakeConnection, channel: int, question: m.AnyMessage) -> None:
        assert isinstance(question, m.WaitFor)
        if question.pattern == b"\xff":
            fake.send(m.Matched(reason="pattern", start=1, end=2), channel)

    service.answer = answer
    done = await farhand("wait", "--pattern", "one", "--pattern", b"\xff", "--json", service.host, ID)
    (output,) = json_lines(done.stdout)
    assert (done.code, output["pattern"]) == (0, "\udcff")
    assert len(service.questions) == 2


async def test_an_invalid_pattern_is_wrong_usage(service: FakeService) -> None:
    def answer(fake: FakeConnection, channel: int, question: m.AnyMessage) -> None:
        fake.send(m.Error(code=ErrorCode.BAD_PATTERN, message="the pattern cannot be used: missing ): ("), channel)

    service.answer = answer
    done = await farhand("wait", "--pattern", "(", service.host, ID)
    assert (done.code, done.stderr) == (2, b"farhand: the pattern cannot be used: missing ): (\n")
    done = await farhand("wait", "--pattern", "x" * 5000, service.host, ID)
    assert (done.code, b"is too long (maximum 4096)" in done.stderr) == (2, True)
    assert (await farhand("wait", "--stderr", service.host, ID)).code == 2
