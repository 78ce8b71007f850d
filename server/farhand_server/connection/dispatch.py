"""One table of which function serves which message in which phase. Before login it contains only the login messages.

Each function here serves one message: it asks the session's admission whether the request is allowed, then opens a
channel handler or sends the refusal. The only rule checked here is how many channels of a kind a connection may have.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.states import Phase
from farhand_server.admission.admission import Admission, AdmittedRun, RunRefusal
from farhand_server.admission.judging import Awaited
from farhand_server.connection.channels.attach import PastRunChannel, RunHasNoTerminal
from farhand_server.connection.channels.deliver import DeliverChannel
from farhand_server.connection.channels.handler import ChannelHandler, ChannelOutlet
from farhand_server.connection.channels.judged import JudgedChannel
from farhand_server.connection.channels.listing import ListChannel
from farhand_server.connection.channels.pattern import BadPattern
from farhand_server.connection.channels.recording import RecordingChannel
from farhand_server.connection.channels.run import RunChannel
from farhand_server.connection.channels.searches import TooManyPatterns
from farhand_server.connection.channels.status import StatusChannel
from farhand_server.connection.channels.waiting import MAX_WAITS, WaitChannel
from farhand_server.connection.context import SessionContext
from farhand_server.connection.login import LoginExchange
from farhand_server.logs import Logger
from farhand_server.runs.attachments.attachments import BadOffset, ClientIdentity, TooManyAttachments
from farhand_server.runs.past import PastRun
from farhand_server.runs.run import AnyRun


class DispatchSession(ChannelOutlet, Protocol):
    """What the dispatch needs from a session."""

    @property
    def context(self) -> SessionContext:
        """What the session shares with the other sessions of the core."""

    @property
    def log(self) -> Logger:
        """A logger that adds the client's fields to each line."""

    @property
    def login(self) -> LoginExchange:
        """Answers the messages before login."""

    @property
    def admission(self) -> Admission:
        """Judges the client's requests. Exists only after login."""

    @property
    def channels(self) -> dict[int, ChannelHandler]:
        """The handlers of all open channels, by number."""

    def acknowledge_close(self, number: int) -> None:
        """Handle that the client has closed a channel."""

    def lose_channel(self, number: int) -> None:
        """Handle that the client behind a channel is lost, and with it the channel; the others go on."""

    def fail(self, what: str, error: Exception) -> None:
        """Log an error in the service, and close the connection with an error."""


def dispatch(session: DispatchSession, channel: int, message: m.AnyMessage) -> None:
    """Serve a message that the connection has found legal. The connection's phase is already the one after the
    message."""
    serve = _TABLE[session.connection.phase].get(type(message))
    if serve is not None:
        serve(session, channel, message)


def _hello(session: DispatchSession, channel: int, message: m.Hello) -> None:
    session.login.answer_hello(message)


def _login(session: DispatchSession, channel: int, message: m.Login) -> None:
    session.login.answer_login(message)


def _run(session: DispatchSession, channel: int, message: m.RunRequest) -> None:
    limit = session.context.config.runs.max_runs_per_connection
    if _limit_reached(session, limit, RunChannel, PastRunChannel, JudgedChannel):
        sentence = f"this connection has {limit} active runs, and no more are allowed (runs.max_runs_per_connection)"
        _refuse(session, channel, message.id, RunRefusal(ErrorCode.TOO_MANY_RUNS, sentence))
        return
    admitted = session.admission.start(message)
    if not isinstance(admitted, Awaited):
        _answer_run(session, channel, message, admitted)
        return
    waiting = JudgedChannel(session, channel, admitted.abandon, session.admission.count_awaited())
    admitted.then(partial(_judged, session, message, waiting), partial(session.fail, message.type))
    _add(session, waiting)


def _judged(
    session: DispatchSession, message: m.RunRequest, waiting: JudgedChannel, admitted: AdmittedRun | RunRefusal
) -> None:
    """Answer a request whose judgement was waited for, then deal with what has arrived on its channel meanwhile."""
    channel = waiting.number
    try:
        if isinstance(admitted, RunRefusal):
            waiting.failed(admitted.code, admitted.sentence)
            session.log.warning("run refused", run=message.id, reason=admitted.sentence)
            return
        del session.channels[channel]
        _answer_run(session, channel, message, admitted)
        handler = session.channels.get(channel)
        if handler is not None and waiting.data:
            handler.received_data(bytes(waiting.data))
        for each in waiting.messages if handler is not None else ():
            dispatch(session, channel, each)
    except Exception as error:  # noqa: BLE001  # as for a message that has just arrived
        session.fail(message.type, error)
    waiting.give_way()  # the run's own channel holds the connection now, if there is too much stdin
    session.flush_soon()


def _answer_run(
    session: DispatchSession, channel: int, message: m.RunRequest, admitted: AdmittedRun | RunRefusal
) -> None:
    if isinstance(admitted, RunRefusal):
        _refuse(session, channel, message.id, admitted)
        return
    run, new = admitted.run, admitted.new
    if _open(session, message.id, channel, lambda: _run_channel(session, channel, run, message, new=new)):
        if not new:
            session.admission.record("attach", run=message.id)
        session.log.debug("run started" if new else "attached to run", run=message.id)


def _run_channel(
    session: DispatchSession, channel: int, run: AnyRun, request: m.RunRequest | m.Attach, *, new: bool
) -> ChannelHandler:
    if isinstance(run, PastRun):
        return PastRunChannel(session, channel, run, request, session.context.registry.left)
    caller = session.admission.caller
    who = ClientIdentity(caller.principal.user, caller.principal.fingerprint, caller.peer)
    return RunChannel(session, channel, run, request, new=new, who=who)


def _attach(session: DispatchSession, channel: int, message: m.Attach) -> None:
    run = session.admission.authorized_run(message.id, "attach")
    if isinstance(run, RunRefusal):
        _refuse(session, channel, message.id, run)
    elif _open(session, message.id, channel, lambda: _run_channel(session, channel, run, message, new=False)):
        session.admission.record("attach", run=message.id, detail="read-only" if message.read_only else None)
        session.log.debug("attached to run", run=message.id)


def _list(session: DispatchSession, channel: int, message: m.List) -> None:
    admission = session.admission
    after = None if message.before is None else admission.authorized_run(message.before, "see")
    if isinstance(after, RunRefusal):
        _refuse(session, channel, message.before, after)
        return
    owner, sees = admission.visible_owner(), partial(admission.may, "see")
    _add(
        session,
        ListChannel(session, channel, message, session.context.registry, after=after, owner=owner, sees=sees),
    )


def _deliver(session: DispatchSession, channel: int, message: m.Deliver) -> None:
    run = session.admission.authorized_run(message.id, "signal")
    if isinstance(run, RunRefusal):
        _refuse(session, channel, message.id, run)
        return
    session.admission.record("signal", run=message.id, detail=_signal_name(message.number))
    left = session.context.registry.left.get(message.id)
    _add(session, DeliverChannel(session, channel, run, message, left))
    session.log.debug("signal delivered", run=message.id, signal=message.number)


def _wait_for(session: DispatchSession, channel: int, message: m.WaitFor) -> None:
    if _limit_reached(session, MAX_WAITS, WaitChannel):
        sentence = f"this connection is waiting for {MAX_WAITS} runs, and no more are allowed; use another connection"
        _refuse(session, channel, message.id, RunRefusal(ErrorCode.TOO_MANY_RUNS, sentence))
        return
    run = session.admission.run_to_wait_for(message.id)
    if isinstance(run, RunRefusal):
        _refuse(session, channel, message.id, run)
    else:
        user, count = session.admission.caller.principal.user, session.admission.count_wait
        _open(
            session,
            message.id,
            channel,
            lambda: WaitChannel(session, channel, run, message, user=user, count=count),
        )


def _recording(session: DispatchSession, channel: int, message: m.RecordingRequest) -> None:
    run = session.admission.authorized_run(message.id, "attach")
    if isinstance(run, RunRefusal):
        _refuse(session, channel, message.id, run)
        return
    session.admission.record("attach", run=message.id, detail="recording")
    _add(session, RecordingChannel(session, channel, run))


def _status(session: DispatchSession, channel: int, message: m.StatusRequest) -> None:
    status = partial(session.context.status, session.admission.caller.principal)
    _add(session, StatusChannel(session, channel, status))


def _signal(session: DispatchSession, channel: int, message: m.Signal | m.Stop) -> None:
    handler = session.channels.get(channel)
    if isinstance(handler, JudgedChannel):
        handler.received(message)
    if not isinstance(handler, RunChannel | PastRunChannel):
        return
    what = "stop" if isinstance(message, m.Stop) else _signal_name(message.number)
    refusal = session.admission.signal(handler.run, what)
    if refusal is None:
        handler.received(message)
    else:
        handler.failed(refusal.code, refusal.sentence)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # among the real-time signals, only the first and the last have names


def _to_channel(session: DispatchSession, channel: int, message: m.AnyMessage) -> None:
    if isinstance(message, m.Close) and message.lost:
        session.lose_channel(channel)
        return
    handler = session.channels.get(channel)
    if handler is not None:
        handler.received(message)
    if isinstance(message, m.Close):
        session.acknowledge_close(channel)


def _limit_reached(session: DispatchSession, limit: int, *kinds: type[ChannelHandler]) -> bool:
    """Return whether the connection already has `limit` channels of these kinds. Counts them only if it has that many
    in all."""
    channels = session.channels.values()
    return len(channels) >= limit and sum(isinstance(channel, kinds) for channel in channels) >= limit


def _open(session: DispatchSession, run_id: str, channel: int, make: Callable[[], ChannelHandler]) -> bool:
    """Open the channel with the handler that `make` returns, or send a refusal if `make` raises one.

    Return whether the channel is open."""
    try:
        handler = make()
    except tuple(_HANDLER_REFUSALS) as error:
        code = next(code for kind, code in _HANDLER_REFUSALS.items() if isinstance(error, kind))
        _refuse(session, channel, run_id, RunRefusal(code, str(error)))
        return False
    _add(session, handler)
    return True


def _add(session: DispatchSession, handler: ChannelHandler) -> None:
    session.channels[handler.number] = handler
    handler.begin()


def _refuse(session: DispatchSession, channel: int, run_id: str | None, refusal: RunRefusal) -> None:
    session.connection.send(channel, m.Error(code=refusal.code, message=refusal.sentence))
    session.log.warning("run refused", run=run_id, reason=refusal.sentence)


_HANDLER_REFUSALS: Final[dict[type[Exception], ErrorCode]] = {
    BadOffset: ErrorCode.BAD_OFFSET,
    BadPattern: ErrorCode.BAD_PATTERN,
    RunHasNoTerminal: ErrorCode.NO_TERMINAL,
    TooManyAttachments: ErrorCode.TOO_MANY_RUNS,
    TooManyPatterns: ErrorCode.TOO_MANY_RUNS,
    OSError: ErrorCode.UNAVAILABLE,
}
"""What the handlers' constructors raise if a run cannot be attached to in the requested way, or not now because the
kernel refuses something."""

_TABLE: Final[dict[Phase, dict[type[m.Message], Callable[[DispatchSession, int, Any], None]]]] = {
    Phase.HELLO: {},
    Phase.WELCOME: {m.Hello: _hello},
    Phase.LOGIN: {},
    Phase.VERIFY: {m.Login: _login},
    Phase.READY: {
        m.RunRequest: _run,
        m.Attach: _attach,
        m.List: _list,
        m.Deliver: _deliver,
        m.WaitFor: _wait_for,
        m.RecordingRequest: _recording,
        m.StatusRequest: _status,
        m.Credit: _to_channel,
        m.End: _to_channel,
        m.Signal: _signal,
        m.Stop: _signal,
        m.Resize: _to_channel,
        m.Close: _to_channel,
    },
    Phase.CLOSED: {},
}
