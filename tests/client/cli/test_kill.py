"""`farhand signal` delivers a signal once, `farhand kill` waits until runs are over."""

from __future__ import annotations

import pytest

from farhand_client import Exited
from farhand_client.cli.commands import run_command
from farhand_client.signals import parse_signal
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.features import FEATURES
from tests.support.command import farhand, json_lines
from tests.support.fake_runs import ID, OTHER, STOPPED, stoppable
from tests.support.fake_service import FakeConnection, FakeRun, FakeService


@pytest.mark.parametrize(
    ("text", "number"),
    [("TERM", 15), ("sigterm", 15), ("SIGKILL", 9), ("9", 9), ("64", 64), ("usr1", 10), ("Winch", 28)],
)
def test_signals_have_names_and_numbers(text: str, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "-9", "SIG", "TERMS", "1.5", "9" * 5000, "٩"])
def test_unknown_signals_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a signal"):
        parse_signal(text)


async def test_a_signal_is_delivered(service: FakeService) -> None:
    done = await farhand("signal", service.host, ID[:8], "hup")
    assert (done.code, done.stdout, done.stderr) == (0, b"", b"")
    assert service.questions[-1] == m.Deliver(id=ID, number=1)
    done = await farhand("signal", "--json", service.host, ID, "64")
    assert (done.code, json_lines(done.stdout)) == (0, [{"run_id": ID, "signal": 64}])
    assert (await farhand("signal", service.host, ID, "0")).code == 2


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("signal -9 web 01a2", "the signal comes last, without a hyphen: farhand signal [HOST] ID 9"),
        ("signal -s HUP web 01a2", "the signal comes last, without a hyphen: farhand signal [HOST] ID HUP"),
        ("kill -HUP web 01a2", "kill takes no signal; to send HUP: farhand signal [HOST] ID HUP"),
        ("kill -9 01a2", "kill takes no signal; to send 9: farhand signal [HOST] ID 9"),
    ],
)
def test_a_signal_as_for_kill_1_is_answered_with_what_to_type(
    line: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run_command(line.split())
    assert capsys.readouterr().err.endswith(f": error: {hint}\n")


async def test_an_undelivered_signal_is_a_failure(service: FakeService) -> None:
    def answer(fake: FakeConnection, channel: int, question: m.AnyMessage) -> None:
        fake.send(m.Error(code=ErrorCode.RUN_ENDED, message="it is over"), channel)

    service.answer = answer
    done = await farhand("signal", service.host, ID, "TERM")
    assert (done.code, done.stderr) == (255, b"farhand: it is over\n")


async def test_kill_waits_for_the_end_and_prints_the_outcome(service: FakeService) -> None:
    service.behave = stoppable
    done = await farhand("kill", "--kill-after", "0.5", service.host, ID)
    assert (done.code, done.stdout, done.stderr) == (0, f"{ID} was stopped on request\n".encode(), b"")
    assert m.Stop(kill_after=0.5) in service.runs[-1].messages
    done = await farhand("kill", "--json", service.host, ID, OTHER)
    assert {line["run_id"]: line["reason"] for line in json_lines(done.stdout)} == {ID: "requested", OTHER: "requested"}
    assert all(m.Stop() in run.messages for run in service.runs[-2:])


@pytest.mark.parametrize(("alive", "said"), [(True, "; stopped 2 processes that it left behind: sleep"), (False, "")])
async def test_kill_stops_the_processes_that_an_ended_run_has_left(
    service: FakeService, alive: bool, said: str
) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        run.ended(Exited(code=0), left_processes=m.LeftProcesses(count=2, names=("sleep",)))

    def answer(fake: FakeConnection, channel: int, question: m.AnyMessage) -> None:
        last = m.Done() if alive else m.Error(code=ErrorCode.RUN_ENDED, message="it is over")
        fake.send(last, channel)

    service.features, service.behave, service.answer = FEATURES, behave, answer
    done = await farhand("kill", service.host, ID)
    assert (done.code, done.stdout.decode(), done.stderr) == (0, f"{ID} exited with code 0{said}\n", b"")
    assert service.questions == [m.Deliver(id=ID, number=15, kill_after=5.0)]
    await farhand("kill", "--kill-after", "0", service.host, ID)
    assert service.questions[-1] == m.Deliver(id=ID, number=15, kill_after=0.0)


async def test_kill_reports_ended_runs_and_continues_after_a_failure(service: FakeService) -> None:
    async def behave(run: FakeRun) -> None:
        if run.request.id == ID:
            run.send(m.Error(code=ErrorCode.UNKNOWN_RUN, message="there is no such run"))
        else:
            run.started()
            run.ended(STOPPED if run.request.id == ID else Exited(code=7))

    service.behave = behave
    done = await farhand("kill", service.host, ID, OTHER)
    assert (done.code, done.stdout) == (255, f"{OTHER} exited with code 7\n".encode())
    assert done.stderr == b"farhand: there is no such run\n"
    assert (await farhand("kill", service.host, OTHER)).code == 0


async def test_nothing_is_stopped_if_one_of_several_ids_is_wrong(service: FakeService) -> None:
    def answer(fake: FakeConnection, channel: int, question: m.AnyMessage) -> None:
        fake.send(m.Error(code=ErrorCode.UNKNOWN_RUN, message="there is no such run"), channel)

    service.answer = answer
    done = await farhand("kill", service.host, ID, "00000000")
    assert (done.code, done.stdout, service.runs) == (255, b"", [])
    assert done.stderr.decode().splitlines() == [
        "farhand: nothing is done for the other runs, because of an id that is wrong:",
        "farhand: there is no such run",
    ]
    assert (await farhand("kill", service.host, "00000000")).stderr == b"farhand: there is no such run\n"
