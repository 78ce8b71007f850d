"""`farhand logs`, `attach`, `wait`, `signal` and `kill` against a service that does anything."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from farhand_client import Exited, Killed, SpawnFailed
from farhand_client.signals import linux_signal
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Lost
from tests.support.command import farhand, running
from tests.support.fake_runs import STOPPED, stoppable
from tests.support.fake_service import FakeConnection, FakeRun, FakeService, refusing

ID = "01890a5d-ac96-774b-bcce-b302099a8057"
OTHER = "01890a5d-ac97-774b-bcce-b302099a8057"


def info(run_id: str = ID, **fields: Any) -> m.RunInfo:
    given = {
        "id": run_id,
        "owner": "ann",
        "command": "cat\x1b",
        "began": 1.0,
        "duration": 2.0,
        "stdout": 10,
        "stderr": 3,
    }
    return m.RunInfo.model_validate(given | fields)


def listing(*runs: m.RunInfo) -> Callable[[FakeConnection, int, m.AnyMessage], None]:
    def answer(fake: FakeConnection, channel: int, question: m.AnyMessage) -> None:
        match question:
            case m.List():
                found = tuple(run for run in runs if run.id.startswith(question.prefix))
                if found:
                    fake.say(m.Runs(runs=found), channel)
                fake.say(m.Done(), channel)
            case m.Deliver():
                fake.say(m.Done(), channel)

    return answer


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[FakeService]:
    async with FakeService().on_socket(tmp_path) as fake:
        fake.answer = listing(info())
        yield fake


def told(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


async def written(run: FakeRun) -> None:
    """Ten bytes of stdout and three of stderr, and the end."""
    run.started()
    await run.rest("stdout", b"0123456\xff89")
    await run.rest("stderr", b"err")
    run.ended(Exited(code=3), stdout=10, stderr=3)


# Ids


@pytest.mark.parametrize("command", ["logs", "attach", "wait", "kill"])
async def test_an_id_may_be_shortened_and_one_of_several_is_named(service: FakeService, command: str) -> None:
    service.behave = written
    done = await farhand(command, service.host, ID[:13])
    assert done.code == {"logs": 0, "attach": 3, "wait": 3, "kill": 0}[command]
    service.answer = listing(info(), info(OTHER))
    done = await farhand(command, service.host, ID[:4])
    assert (done.code, done.stdout) == (2, b"")
    assert f"{ID}  cat\\x1b".encode() in done.stderr
    assert OTHER.encode() in done.stderr
    assert (await farhand(command, service.host, ID)).code != 2


@pytest.mark.parametrize(("wrong", "words"), [("018", "too short"), ("xyzw", "no run id begins with")])
async def test_what_is_no_id_is_wrong_usage(service: FakeService, wrong: str, words: str) -> None:
    for command in ("logs", "attach", "wait", "kill"):
        done = await farhand(command, service.host, "--", wrong)
        assert (done.code, words in done.stderr.decode()) == (2, True)
    assert service.connections == []


async def test_what_the_service_refuses_is_ours(service: FakeService) -> None:
    service.behave = refusing(ErrorCode.UNKNOWN_RUN, "there is no such run\x1b[2J")
    for command in ("logs", "attach", "wait", "kill"):
        done = await farhand(command, service.host, ID)
        assert (done.code, done.stderr) == (255, b"farhand: there is no such run\\x1b[2J\n")
    for command in ("attach", "wait", "kill"):
        done = await farhand(command, "--json", service.host, ID)
        (line,) = told(done.stdout)
        assert (done.code, line["status"], line["error"]["code"]) == (255, "failed", "unknown_run")


# logs


async def test_logs_writes_each_stream_where_it_belongs(service: FakeService) -> None:
    service.behave = written
    done = await farhand("logs", service.host, ID)
    assert (done.code, done.stdout, done.stderr) == (0, b"0123456\xff89", b"err")
    asked = service.runs[-1].attach
    assert asked is not None
    assert (asked.read_only, asked.hold, asked.follow) == (True, False, False)


@pytest.mark.parametrize(
    ("options", "stdout", "stderr"),
    [
        (["--from", "4"], 4, 0),
        (["--from", "2", "--stderr"], None, 2),
        (["--stdout"], 0, None),
        (["--tail", "4"], 6, 0),
        (["--tail", "1K", "--stdout"], 0, None),
        (["-f"], 0, 0),
    ],
)
async def test_logs_begins_where_it_is_told_to(
    service: FakeService, options: list[str], stdout: int | None, stderr: int | None
) -> None:
    service.behave = written
    assert (await farhand("logs", *options, service.host, ID)).code == 0
    asked = service.runs[-1].attach
    assert asked is not None
    assert (asked.stdout, asked.stderr, asked.follow) == (stdout, stderr, "-f" in options)


async def gappy(run: FakeRun) -> None:
    run.started()
    run.say(m.Gap(stream="stdout", offset=0, bytes=4))
    run.sent["stdout"] = 4
    await run.write("stdout", b"ab")
    run.say(m.Gap(stream="stdout", offset=6, bytes=1))
    run.sent["stdout"] = 7
    await run.write("stdout", b"\xff")
    run.ended()


async def test_gaps_are_said_to_the_byte_and_are_no_failure(service: FakeService) -> None:
    service.behave = gappy
    for command in ("logs", "attach"):
        done = await farhand(command, service.host, ID)
        assert (done.code, done.stdout) == (0, b"ab\xff")
        assert done.stderr.splitlines() == [
            b"farhand: 4 bytes of stdout from offset 0 on are no longer kept",
            b"farhand: 1 bytes of stdout from offset 6 on are no longer kept",
        ]
        done = await farhand(command, "--json", service.host, ID)
        *pieces, last = told(done.stdout)
        assert pieces == [
            {"stream": "stdout", "offset": 0, "gap": 4},
            {"stream": "stdout", "offset": 4, "data": "ab"},
            {"stream": "stdout", "offset": 6, "gap": 1},
            {"stream": "stdout", "offset": 7, "data": {"base64": "/w=="}},
        ]
        assert (last["status"], last["code"], last["run_id"], "new" in last) == ("exited", 0, ID, False)


async def test_logs_of_a_run_that_goes_on_ends_where_it_stands(service: FakeService) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.rest("stdout", b"so far")
        for stream in run.streams:
            run.say(m.End(stream=stream))
        run.say(m.Done())

    service.behave = behave
    done = await farhand("logs", service.host, ID)
    assert (done.code, done.stdout, done.stderr) == (0, b"so far", b"")
    assert told((await farhand("logs", "--json", service.host, ID)).stdout) == [
        {"stream": "stdout", "offset": 0, "data": "so far"}
    ]


@pytest.mark.parametrize("command", ["logs", "attach"])
async def test_a_reader_that_goes_leaves_the_run_alone(service: FakeService, command: str) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        while not any(isinstance(message, m.Close) for message in run.messages):
            await run.write("stdout", b"y\n")
            await asyncio.sleep(0)
        run.say(m.Done())

    service.behave = behave
    reading, writing = os.pipe()
    async with running(
        command, "-f" if command == "logs" else "--no-stdin", service.host, ID, stdout=writing
    ) as process:
        os.close(writing)
        assert await asyncio.to_thread(os.read, reading, 2) == b"y\n"
        os.close(reading)
        assert await process.wait() == 141
    assert not any(isinstance(message, m.Stop) for message in service.runs[-1].messages)


# attach


async def test_attach_feeds_the_run_from_where_its_stdin_is(service: FakeService) -> None:
    async def cat(run: FakeRun) -> None:
        run.started()
        await run.until(m.End)
        await run.write("stdout", run.stdin)
        run.ended(Exited(code=5))

    service.behave = cat
    service.answer = listing(info(stdin=7))
    done = await farhand("attach", service.host, ID, input=b"more")
    assert (done.code, done.stdout, done.stderr) == (5, b"more", b"")
    asked = service.runs[-1].attach
    assert asked is not None
    assert (asked.stdin, asked.hold, asked.read_only, asked.stdout, asked.stderr) == (7, True, False, 0, 0)


@pytest.mark.parametrize(
    ("options", "stdin", "read_only"), [([], None, False), (["--no-stdin"], 7, False), (["--read-only"], 7, True)]
)
async def test_attach_leaves_stdin_alone_where_it_should(
    service: FakeService, options: list[str], stdin: int | None, read_only: bool
) -> None:
    service.behave = written
    service.answer = listing(info(stdin=stdin))
    done = await farhand("attach", *options, service.host, ID, input=b"not mine")
    assert (done.code, done.stdout, done.stderr) == (3, b"0123456\xff89", b"err")
    asked = service.runs[-1].attach
    assert asked is not None
    assert (asked.stdin, asked.read_only, asked.hold) == (None, read_only, not read_only)


async def test_attach_says_that_somebody_else_feeds_the_run(service: FakeService) -> None:
    async def behave(run: FakeRun) -> None:
        run.say(m.Started(pid=1, new=False, stdin=False))
        run.begun = True
        run.client.say(m.Ping(id=1))
        await run.client.reads(1)
        run.ended()

    service.behave = behave
    service.answer = listing(info(stdin=0))
    done = await farhand("attach", service.host, ID, input=b"mine")
    assert (done.code, b"another client feeds" in done.stderr) == (0, True)
    assert service.runs[-1].stdin == b""


async def ready(run: FakeRun) -> None:
    run.started()
    await run.write("stdout", b"ready\n")
    await run.until(m.Signal)
    await run.write("stdout", b"caught\n")
    await run.until(m.Close)
    run.say(m.Done())


async def test_the_first_ctrl_c_goes_to_the_run_and_the_second_leaves_it_going(service: FakeService) -> None:
    service.behave = ready
    async with running("attach", service.host, ID) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        assert await process.stdout.readline() == b"caught\n"
        process.send_signal(signal.SIGINT)
        _, stderr = await process.communicate()
        assert (process.returncode, stderr) == (130, f"farhand: abandoned run {ID}; it goes on\n".encode())
    assert [type(message) for message in service.runs[-1].messages][:1] == [m.Signal]
    assert not any(isinstance(message, m.Stop) for message in service.runs[-1].messages)


@pytest.mark.parametrize(
    ("number", "options", "code"),
    [(signal.SIGTERM, [], 143), (signal.SIGHUP, [], 129), (signal.SIGINT, ["--read-only"], 130)],
)
async def test_what_ends_attach_leaves_the_run_going(
    service: FakeService, number: int, options: list[str], code: int
) -> None:
    service.behave = ready
    async with running("attach", *options, service.host, ID) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert await process.wait() == code
    assert not any(isinstance(message, m.Signal | m.Stop) for message in service.runs[-1].messages)


async def test_attach_says_what_the_service_did_to_the_run(service: FakeService) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        run.ended(Killed(reason="memory", signal=9))

    service.behave = behave
    done = await farhand("attach", service.host, ID)
    assert (done.code, b"limit on memory" in done.stderr) == (137, True)


# wait


async def test_wait_has_the_code_of_the_last_run(service: FakeService) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        run.ended(Exited(code=4 if run.request.id == ID else 0))

    service.behave = behave
    done = await farhand("wait", service.host, ID)
    assert (done.code, done.stdout, done.stderr) == (4, b"", b"")
    assert (await farhand("wait", service.host, ID, OTHER)).code == 0
    done = await farhand("wait", "--json", service.host, OTHER, ID)
    assert done.code == 4
    assert {line["run_id"]: line["code"] for line in told(done.stdout)} == {ID: 4, OTHER: 0}


async def test_wait_tells_runs_without_an_end_of_their_own(service: FakeService) -> None:
    async def behave(run: FakeRun) -> None:
        if run.request.id == ID:
            run.ended(SpawnFailed(errno=2, error="ENOENT", what="program", message="nix: no such program"))
        else:
            run.ended(Lost())

    service.behave = behave
    done = await farhand("wait", service.host, ID)
    assert (done.code, done.stderr) == (127, b"farhand: nix: no such program\n")
    done = await farhand("wait", service.host, OTHER)
    assert (done.code, b"has an unknown end" in done.stderr) == (255, True)


async def test_wait_no_longer_than_it_should(service: FakeService) -> None:
    service.behave = stoppable
    done = await farhand("wait", "--timeout", "0.1", "--json", service.host, ID)
    assert (done.code, told(done.stdout)) == (124, [{"run_id": ID, "reason": "timeout"}])
    assert not any(isinstance(message, m.Stop) for message in service.runs[-1].messages)


@pytest.mark.parametrize(("reason", "code"), [("pattern", 0), ("idle", 0), ("ended", 1)])
async def test_wait_for_output(service: FakeService, reason: Any, code: int) -> None:
    def answer(fake: FakeConnection, channel: int, question: m.AnyMessage) -> None:
        fake.say(m.Matched(reason=reason, start=5, end=9), channel)

    service.answer = answer
    line = ["--pattern", "up$", "--idle", "2.5", "--from", "5", "--stderr", "--json"]
    done = await farhand("wait", *line, service.host, ID)
    (said,) = told(done.stdout)
    expected = {"run_id": ID, "stream": "stderr", "reason": reason, "start": 5, "end": 9}
    assert (done.code, said) == (code, expected | ({"pattern": "up$"} if reason == "pattern" else {}))
    assert service.questions == [m.WaitFor(id=ID, stream="stderr", offset=5, pattern=b"up$", idle=2.5)]


async def test_of_several_patterns_the_first_to_match_is_told_and_the_others_are_given_up(service: FakeService) -> None:
    def answer(fake: FakeConnection, channel: int, question: m.AnyMessage) -> None:
        assert isinstance(question, m.WaitFor)
        if question.pattern == b"\xff":
            fake.say(m.Matched(reason="pattern", start=1, end=2), channel)

    service.answer = answer
    done = await farhand("wait", "--pattern", "one", "--pattern", b"\xff", "--json", service.host, ID)
    (said,) = told(done.stdout)
    assert (done.code, said["pattern"]) == (0, "\udcff")
    assert len(service.questions) == 2


async def test_a_pattern_that_is_none_is_wrong_usage(service: FakeService) -> None:
    def answer(fake: FakeConnection, channel: int, question: m.AnyMessage) -> None:
        fake.say(m.Error(code=ErrorCode.BAD_PATTERN, message="the pattern cannot be used: missing ): ("), channel)

    service.answer = answer
    done = await farhand("wait", "--pattern", "(", service.host, ID)
    assert (done.code, done.stderr) == (2, b"farhand: the pattern cannot be used: missing ): (\n")
    done = await farhand("wait", "--pattern", "x" * 5000, service.host, ID)
    assert (done.code, b"4096 are possible" in done.stderr) == (2, True)
    assert (await farhand("wait", "--stderr", service.host, ID)).code == 2


# signal and kill


@pytest.mark.parametrize(
    ("text", "number"),
    [("TERM", 15), ("sigterm", 15), ("SIGKILL", 9), ("9", 9), ("64", 64), ("usr1", 10), ("Winch", 28)],
)
def test_names_and_numbers_of_signals(text: str, number: int) -> None:
    assert linux_signal(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "-9", "SIG", "TERMS", "1.5", "9" * 5000, "٩"])
def test_what_is_no_signal(text: str) -> None:
    with pytest.raises(ValueError, match="is not a signal"):
        linux_signal(text)


async def test_a_signal_is_delivered(service: FakeService) -> None:
    done = await farhand("signal", service.host, ID[:8], "hup")
    assert (done.code, done.stdout, done.stderr) == (0, b"", b"")
    assert service.questions[-1] == m.Deliver(id=ID, number=1)
    done = await farhand("signal", "--json", service.host, ID, "64")
    assert (done.code, told(done.stdout)) == (0, [{"run_id": ID, "signal": 64}])
    assert (await farhand("signal", service.host, ID, "0")).code == 2


async def test_a_signal_that_reaches_nobody_is_a_failure(service: FakeService) -> None:
    def answer(fake: FakeConnection, channel: int, question: m.AnyMessage) -> None:
        fake.say(m.Error(code=ErrorCode.RUN_ENDED, message="it is over"), channel)

    service.answer = answer
    done = await farhand("signal", service.host, ID, "TERM")
    assert (done.code, done.stderr) == (255, b"farhand: it is over\n")


async def test_kill_waits_for_the_end_and_says_it(service: FakeService) -> None:
    service.behave = stoppable
    done = await farhand("kill", "--kill-after", "0.5", service.host, ID)
    assert (done.code, done.stdout, done.stderr) == (0, f"{ID} was stopped on request\n".encode(), b"")
    assert m.Stop(kill_after=0.5) in service.runs[-1].messages
    done = await farhand("kill", "--json", service.host, ID, OTHER)
    assert {line["run_id"]: line["reason"] for line in told(done.stdout)} == {ID: "requested", OTHER: "requested"}
    assert all(m.Stop() in run.messages for run in service.runs[-2:])


async def test_kill_says_how_runs_ended_that_were_over_and_goes_on_where_one_fails(service: FakeService) -> None:
    async def behave(run: FakeRun) -> None:
        if run.request.id == ID:
            run.say(m.Error(code=ErrorCode.UNKNOWN_RUN, message="there is no such run"))
        else:
            run.started()
            run.ended(STOPPED if run.request.id == ID else Exited(code=7))

    service.behave = behave
    done = await farhand("kill", service.host, ID, OTHER)
    assert (done.code, done.stdout) == (255, f"{OTHER} exited with code 7\n".encode())
    assert done.stderr == b"farhand: there is no such run\n"
    assert (await farhand("kill", service.host, OTHER)).code == 0
