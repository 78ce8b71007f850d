"""Each message is served only in its phases, and the client receives the decision of admission."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.states import Phase
from farhand_server.admission.admission import Admission, AdmittedRun, RunRefusal
from farhand_server.admission.caller import Caller
from farhand_server.auth.accounts import Principal
from farhand_server.config import load
from farhand_server.connection.channels.handler import ChannelHandler
from farhand_server.connection.channels.run import RunChannel
from farhand_server.connection.channels.waiting import MAX_WAITS, WaitChannel
from farhand_server.connection.context import SessionContext
from farhand_server.connection.dispatch import DispatchSession, dispatch
from farhand_server.connection.login import LoginExchange
from farhand_server.logs import Logger, LogSink
from farhand_server.policy import Action
from farhand_server.runs.left import LeftRuns
from farhand_server.runs.run import AnyRun, LiveRun
from tests.server.connection.channels.runs import run as make_run
from tests.support.client import new_id
from tests.support.fake_session import FakeSession

ALL_MESSAGES = [
    kind for kind in vars(m).values() if isinstance(kind, type) and "type" in getattr(kind, "model_fields", {})
]


class Recorder:
    """Records which attributes are used and which methods are called."""

    def __init__(self, phase: Phase) -> None:
        self.used: list[str] = []
        self.connection = SimpleNamespace(phase=phase)

    def __getattr__(self, name: str) -> Any:
        self.used.append(name)
        return SimpleNamespace(
            answer_hello=lambda message: self.used.append("answer_hello"),
            answer_login=lambda message: self.used.append("answer_login"),
        )


@pytest.mark.parametrize(
    ("phase", "served"),
    [
        (Phase.HELLO, {}),
        (Phase.WELCOME, {m.Hello: ["login", "answer_hello"]}),
        (Phase.LOGIN, {}),
        (Phase.VERIFY, {m.Login: ["login", "answer_login"]}),
        (Phase.CLOSED, {}),
    ],
)
def test_before_login_only_login_messages_are_served(phase: Phase, served: dict[type[m.Message], list[str]]) -> None:
    assert len(ALL_MESSAGES) > 20
    for kind in ALL_MESSAGES:
        session = Recorder(phase)
        dispatch(cast(DispatchSession, session), 0, cast(m.AnyMessage, object.__new__(kind)))
        assert session.used == served.get(kind, []), kind


class FakeAdmission(Admission):
    """Admits one run, or refuses everything, and records the calls."""

    def __init__(self, run: AnyRun, refusal: RunRefusal | None = None, *, new: bool = True) -> None:
        self.run, self.refusal, self.new = run, refusal, new
        self.caller = cast(Caller, SimpleNamespace(principal=Principal("ada", 1000, "peer"), peer=None))  # type: ignore[misc]  # as Admission.__init__ does
        self.asked: list[str] = []
        self.recorded: list[tuple[str, str | None]] = []

    def start(self, request: m.RunRequest) -> AdmittedRun | RunRefusal:
        self.asked.append("start")
        return self.refusal or AdmittedRun(self.run, self.new)

    def authorized_run(self, run_id: str, action: Action) -> AnyRun | RunRefusal:
        self.asked.append(action)
        return self.refusal or self.run

    def run_to_wait_for(self, run_id: str) -> AnyRun | RunRefusal:
        return self.authorized_run(run_id, "attach")

    def count_wait(self) -> Callable[[], None]:
        return lambda: None

    def signal(self, run: AnyRun, what: str) -> RunRefusal | None:
        self.asked.append(f"signal: {what}")
        return self.refusal

    def visible_owner(self) -> str | None:
        return "ada"

    def record(self, event: str, *, run: str, detail: str | None = None) -> None:
        self.recorded.append((event, detail))


class NoRuns(tuple[LiveRun, ...]):
    """A registry without active runs, and without runs that have left processes running."""

    left = LeftRuns()


class Session(FakeSession):
    """A logged-in session whose client opens one channel after another."""

    def __init__(self, admission: FakeAdmission, directory: Path) -> None:
        super().__init__()
        config = load(None, overrides={"state_dir": str(directory)})
        config = config.model_copy(update={"runs": config.runs.model_copy(update={"max_runs_per_connection": 2})})
        self.context = cast(SessionContext, SimpleNamespace(config=config, registry=NoRuns()))
        self.log = Logger(LogSink(), {})
        self.login = cast(LoginExchange, None)
        self.admission = admission
        self.channels: dict[int, ChannelHandler] = {}
        self.acknowledged: list[int] = []
        self.lost_channels: list[int] = []

    def fail(self, what: str, error: Exception) -> None:
        raise error

    def acknowledge_close(self, number: int) -> None:
        self.acknowledged.append(number)

    def lose_channel(self, number: int) -> None:
        self.lost_channels.append(number)

    def serve(self, message: m.Message, channel: int | None = None) -> int:
        """Let the client send a message, on a new channel unless one is given; return the channel."""
        if channel is None:
            channel = self.open(message)
        dispatch(self, channel, cast(m.AnyMessage, message))
        self.flush_soon()
        return channel

    def error(self, channel: int) -> ErrorCode:
        """Return the error of the channel, which must have received nothing else."""
        (answer,) = self.received[channel]
        assert isinstance(answer, m.Error)
        return answer.code


@pytest.fixture
async def live(tmp_path: Path) -> LiveRun:
    return make_run(tmp_path)


REFUSAL = RunRefusal(ErrorCode.DENIED, "the policy does not let ada do this")
REQUESTS: list[tuple[m.Message, str]] = [
    (m.RunRequest(id=new_id(), argv=(b"true",)), "start"),
    (m.Attach(id=new_id(), stdout=0, stderr=0), "attach"),
    (m.List(before=new_id()), "see"),
    (m.Deliver(id=new_id(), number=15), "signal"),
    (m.WaitFor(id=new_id(), stream="stdout", offset=0, pattern=b"x"), "attach"),
    (m.RecordingRequest(id=new_id()), "attach"),
]


@pytest.mark.parametrize(("request_", "asked"), REQUESTS, ids=lambda value: getattr(value, "type", None))
async def test_a_refusal_is_sent_and_opens_no_channel(
    request_: m.Message, asked: str, live: LiveRun, tmp_path: Path
) -> None:
    session = Session(FakeAdmission(live, REFUSAL), tmp_path)
    channel = session.serve(request_)
    assert session.error(channel) == ErrorCode.DENIED
    assert (session.channels, session.admission.asked, session.admission.recorded) == ({}, [asked], [])


@pytest.mark.parametrize(
    ("request_", "recorded"),
    [
        (REQUESTS[1][0], [("attach", None)]),
        (m.Attach(id=new_id(), stdout=0, stderr=0, read_only=True), [("attach", "read-only")]),
        (REQUESTS[2][0], []),
        (REQUESTS[3][0], [("signal", "SIGTERM")]),
        (m.Deliver(id=new_id(), number=40), [("signal", "signal 40")]),
        (REQUESTS[4][0], []),
        (REQUESTS[5][0], [("attach", "recording")]),
    ],
    ids=lambda value: getattr(value, "type", None),
)
async def test_an_admitted_request_gets_a_channel_and_is_in_the_audit_log(
    request_: m.Message, recorded: list[tuple[str, str | None]], live: LiveRun, tmp_path: Path
) -> None:
    session = Session(FakeAdmission(live), tmp_path)
    channel = session.serve(request_)
    assert list(session.channels) == [channel]
    assert session.admission.recorded == recorded
    session.channels[channel].lost()


@pytest.mark.parametrize(("new", "recorded"), [(True, []), (False, [("attach", None)])])
async def test_only_a_request_for_an_existing_run_is_audited_as_an_attachment(
    new: bool, recorded: list[tuple[str, str | None]], live: LiveRun, tmp_path: Path
) -> None:
    session = Session(FakeAdmission(live, new=new), tmp_path)
    session.serve(REQUESTS[0][0])
    assert session.admission.recorded == recorded


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (m.Attach(id=new_id(), stdout=7, stderr=0), ErrorCode.BAD_OFFSET),
        (m.Attach(id=new_id(), stdout=0, size=m.WindowSize(columns=80, rows=24)), ErrorCode.NO_TERMINAL),
        (m.WaitFor(id=new_id(), stream="stdout", offset=7, pattern=b"x"), ErrorCode.BAD_OFFSET),
        (m.WaitFor(id=new_id(), stream="stdout", offset=0, pattern=b"("), ErrorCode.BAD_PATTERN),
    ],
)
async def test_a_run_that_cannot_be_attached_to_in_this_way_is_refused_and_not_in_the_audit_log(
    request_: m.Message, code: ErrorCode, live: LiveRun, tmp_path: Path
) -> None:
    session = Session(FakeAdmission(live), tmp_path)
    assert session.error(session.serve(request_)) == code
    assert (session.channels, session.admission.recorded) == ({}, [])


async def test_a_failure_of_the_kernel_ends_only_the_channel(
    live: LiveRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(live, "attach", refuse)
    session = Session(FakeAdmission(live), tmp_path)
    assert session.error(session.serve(REQUESTS[1][0])) == ErrorCode.UNAVAILABLE
    assert (session.channels, session.admission.recorded) == ({}, [])


@pytest.mark.parametrize(
    ("kind", "limit", "request_"), [(RunChannel, 2, REQUESTS[0][0]), (WaitChannel, MAX_WAITS, REQUESTS[4][0])]
)
async def test_a_connection_has_no_more_channels_of_a_kind_than_its_limit(
    kind: type[ChannelHandler], limit: int, request_: m.Message, live: LiveRun, tmp_path: Path
) -> None:
    session = Session(FakeAdmission(live), tmp_path)
    session.channels |= {1000 + number: object.__new__(kind) for number in range(limit)}
    assert session.error(session.serve(request_)) == ErrorCode.TOO_MANY_RUNS
    assert session.admission.asked == []
    del session.channels[1000]
    assert session.serve(request_) in session.channels


async def test_signals_on_a_runs_channel_are_judged_each_time(live: LiveRun, tmp_path: Path) -> None:
    session = Session(FakeAdmission(live), tmp_path)
    channel = session.serve(REQUESTS[0][0])
    session.serve(m.Signal(number=15), channel)
    session.serve(m.Stop(kill_after=1), channel)
    assert session.admission.asked == ["start", "signal: SIGTERM", "signal: stop"]
    session.admission.refusal = REFUSAL
    session.serve(m.Signal(number=9), channel)
    assert session.error(channel) == ErrorCode.DENIED


async def test_a_close_reaches_the_handler_and_is_acknowledged(live: LiveRun, tmp_path: Path) -> None:
    session = Session(FakeAdmission(live), tmp_path)
    channel = session.serve(REQUESTS[1][0])
    session.client.send(channel, m.Close())
    list(session.connection.receive_data(b"".join(session.client.data_to_send())))
    session.serve(m.Close(), channel)
    assert [message.type for message in session.received[channel]] == ["done"]
    assert session.acknowledged == [channel]
    session.serve(m.Signal(number=15), channel + 2)
    assert session.admission.asked == ["attach"], "a signal on a closed channel is ignored"


async def test_a_lost_channel_is_not_left_but_lost(live: LiveRun, tmp_path: Path) -> None:
    session = Session(FakeAdmission(live), tmp_path)
    channel = session.serve(REQUESTS[1][0])
    session.serve(m.Close(lost=True), channel)
    assert session.lost_channels == [channel]
    assert session.acknowledged == []
    assert channel not in session.received
