"""What all commands about existing runs share: ids, refusals and exit codes."""

from __future__ import annotations

import pytest

from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import SpawnFailed
from tests.support.command import farhand, json_lines
from tests.support.fake_listing import info, listing
from tests.support.fake_runs import ID, OTHER, ten_and_three
from tests.support.fake_service import FakeRun, FakeService, refusing


@pytest.mark.parametrize("command", ["logs", "attach", "wait", "kill"])
async def test_an_id_may_be_shortened_unless_it_fits_several_runs(service: FakeService, command: str) -> None:
    service.behave = ten_and_three
    done = await farhand(command, service.host, ID[:13])
    assert done.code == {"logs": 0, "attach": 3, "wait": 3, "kill": 0}[command]
    service.answer = listing(info(), info(OTHER))
    done = await farhand(command, service.host, ID[:4])
    assert (done.code, done.stdout) == (2, b"")
    assert f"{ID}  cat\\x1b".encode() in done.stderr
    assert OTHER.encode() in done.stderr
    assert (await farhand(command, "--json", service.host, ID[:4])).code == 2
    assert (await farhand(command, service.host, ID)).code != 2


@pytest.mark.parametrize(("wrong", "words"), [("018", "too short"), ("xyzw", "no run id begins with")])
async def test_a_wrong_id_is_wrong_usage(service: FakeService, wrong: str, words: str) -> None:
    for command in ("logs", "attach", "wait", "kill"):
        done = await farhand(command, service.host, "--", wrong)
        assert (done.code, words in done.stderr.decode()) == (2, True)
    assert service.connections == []


async def test_a_refusal_exits_with_255(service: FakeService) -> None:
    service.behave = refusing(ErrorCode.UNKNOWN_RUN, "there is no such run\x1b[2J")
    for command in ("logs", "attach", "wait", "kill"):
        done = await farhand(command, service.host, ID)
        assert (done.code, done.stderr) == (255, b"farhand: there is no such run\\x1b[2J\n")
    for command in ("attach", "wait", "kill"):
        done = await farhand(command, "--json", service.host, ID)
        (line,) = json_lines(done.stdout)
        assert (done.code, line["status"], line["error"]["code"]) == (255, "failed", "unknown_run")


@pytest.mark.parametrize(("command", "code"), [("logs", 0), ("attach", 127), ("wait", 127), ("kill", 0)])
async def test_a_run_that_did_not_start_is_over(service: FakeService, command: str, code: int) -> None:
    async def behave(run: FakeRun) -> None:
        run.ended(SpawnFailed(errno=2, error="ENOENT", what="program", message="nix: no such program"))

    service.behave = behave
    done = await farhand(command, service.host, ID)
    assert (done.code, done.stdout, done.stderr) == (code, b"", b"farhand: nix: no such program\n")
    done = await farhand(command, "--json", service.host, ID)
    (line,) = json_lines(done.stdout)
    assert (done.code, line["status"], line["run_id"]) == (code, "spawn_failed", ID)
