"""Which handler serves which message in which phase. Nothing but the messages of login is served before it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.messages.run import request_fingerprint
from farhand_protocol.states import Phase
from farhand_server.admission.plan import Denied, plan_run
from farhand_server.connection.channels.deliver import DeliverChannel
from farhand_server.connection.channels.handler import ChannelHandler
from farhand_server.connection.channels.listing import ListChannel
from farhand_server.connection.channels.pattern import BadPattern
from farhand_server.connection.channels.recording import RecordingChannel
from farhand_server.connection.channels.run import RunChannel, RunHasNoTerminal
from farhand_server.connection.channels.waiting import MAX_WAITS, WaitChannel
from farhand_server.policy import Action, Owner, may
from farhand_server.runs.attachments.attachments import BadOffset, TooManyAttachments
from farhand_server.runs.registry import IdConflict, RecordUnavailable, RunExpired, ServiceDraining, TooManyRuns
from farhand_server.runs.run import LiveRun

if TYPE_CHECKING:
    from farhand_server.connection.session import ServerSession


def dispatch(session: ServerSession, channel: int, message: m.AnyMessage) -> None:
    """Serve a message that the connection has found legal, and that has brought it into the phase it is in."""
    handler = _TABLE[session.connection.phase].get(type(message))
    if handler is not None:
        handler(session, channel, message)


def _hello(session: ServerSession, channel: int, message: m.Hello) -> None:
    if m.PROTOCOL_VERSION not in message.versions:
        session.connection.fail(
            ErrorCode.UNSUPPORTED_VERSION,
            f"this service speaks version {m.PROTOCOL_VERSION} of the protocol, and none of the client's",
        )
        return
    session.welcome(message)


def _login(session: ServerSession, channel: int, message: m.Login) -> None:
    principal = session.authenticate(message.public_key, message.signature)
    if principal is None:
        session.refuse()
    else:
        session.accept(principal)


def _run(session: ServerSession, channel: int, message: m.RunRequest) -> None:
    assert session.caller is not None
    config = session.core.config
    limit = config.runs.max_runs_per_connection
    try:
        if _are(limit, RunChannel, session):
            raise TooManyRuns(
                f"{limit} runs are under way on this connection, and it takes no more (runs.max_runs_per_connection)"
            )
        run = _again(session, message)
        if new := run is None:
            plan = plan_run(message, session.caller, config, session.core.policy)
            run, _ = session.core.registry.start(plan, max_runs=config.runs.max_runs)
        _add(session, RunChannel(session, channel, run, message, new=new))
    except tuple(_REFUSALS) as error:
        _refuse(session, channel, message.id, error)
        return
    if not new:
        session.note("attach", run=message.id)
    session.log.debug("run started" if new else "run attached to", run=message.id)


def _again(session: ServerSession, request: m.RunRequest) -> LiveRun | None:
    """Return the run that the same request has started before, from whichever connection. Raises `IdConflict`."""
    assert session.caller is not None
    run = session.core.registry.find(request.id)
    if run is None:
        return None
    same = run.plan.owner == session.caller.principal.user and run.plan.fingerprint == request_fingerprint(request)
    if not same or not session.may("attach", run):
        raise IdConflict(f"a run with the id {request.id} was started before, by another request")
    return run


def _attach(session: ServerSession, channel: int, message: m.Attach) -> None:
    try:
        run = _known(session, message.id, "attach")
        _add(session, RunChannel(session, channel, run, message, new=False))
    except tuple(_REFUSALS) as error:
        _refuse(session, channel, message.id, error)
        return
    session.note("attach", run=message.id, detail="read-only" if message.read_only else None)
    session.log.debug("run attached to", run=message.id)


def _list(session: ServerSession, channel: int, message: m.List) -> None:
    assert session.caller is not None
    try:
        after = None if message.before is None else _known(session, message.before, "see")
    except tuple(_REFUSALS) as error:
        _refuse(session, channel, message.before, error)
        return
    subject = session.caller.subject
    # Whoever sees no runs of other accounts is spared looking through them; no account has an empty name.
    owner = None if may(session.core.policy, subject, "see", Owner("")) else subject.user
    sees = partial(session.may, "see")
    _add(session, ListChannel(session, channel, message, session.core.registry, after=after, owner=owner, sees=sees))


def _deliver(session: ServerSession, channel: int, message: m.Deliver) -> None:
    try:
        run = _known(session, message.id, "signal")
    except tuple(_REFUSALS) as error:
        _refuse(session, channel, message.id, error)
        return
    session.note("signal", run=message.id, detail=_signal_name(message.number))
    _add(session, DeliverChannel(session, channel, run, message))
    session.log.debug("signal delivered", run=message.id, signal=message.number)


def _wait_for(session: ServerSession, channel: int, message: m.WaitFor) -> None:
    try:
        if _are(MAX_WAITS, WaitChannel, session):
            raise TooManyRuns(f"{MAX_WAITS} runs are waited for on this connection, and it takes no more; use another")
        run = _known(session, message.id, "attach")
        _add(session, WaitChannel(session, channel, run, message))
    except tuple(_REFUSALS) as error:
        _refuse(session, channel, message.id, error)


def _recording(session: ServerSession, channel: int, message: m.RecordingRequest) -> None:
    try:
        run = _known(session, message.id, "attach")
    except tuple(_REFUSALS) as error:
        _refuse(session, channel, message.id, error)
        return
    session.note("attach", run=message.id, detail="recording")
    _add(session, RecordingChannel(session, channel, run))


class UnknownRun(Exception):
    """There is no such run, or it is not this principal's to know of; the text does not say which."""


def _known(session: ServerSession, run_id: str, action: Action) -> LiveRun:
    """Return a run that the client may do `action` with.

    Raises `UnknownRun`, `Denied`, `RunExpired` and `RecordUnavailable`.
    """
    run = session.core.registry.find(run_id)
    if run is not None and session.may("see", run):
        if not session.may(action, run):
            raise Denied(_may_not(session, action, run))
        return run
    if run is not None:
        session.note("denial", run=run_id, detail=_may_not(session, "see", run))
    raise UnknownRun(f"there is no run {run_id} here")


def _may_not(session: ServerSession, action: Action, run: LiveRun) -> str:
    assert session.caller is not None
    what = "attach to" if action == "attach" else action
    return f"the policy does not let {session.caller.principal.user} {what} this run of {run.plan.owner}"


def _add(session: ServerSession, channel: ChannelHandler) -> None:
    session.channels[channel.number] = channel
    channel.begin()


def _are(count: int, kind: type[ChannelHandler], session: ServerSession) -> bool:
    """Whether there are so many channels of a kind; they are looked at only where there can be."""
    channels = session.channels.values()
    return len(channels) >= count and sum(isinstance(channel, kind) for channel in channels) >= count


def _refuse(session: ServerSession, channel: int, run_id: str | None, error: Exception) -> None:
    code = next(code for kind, code in _REFUSALS.items() if isinstance(error, kind))
    session.connection.send(channel, m.Error(code=code, message=str(error)))
    session.log.warning("run refused", run=run_id, reason=str(error))
    if isinstance(error, Denied):
        session.note("denial", run=run_id, argv=error.argv, commands=error.audit, detail=str(error))


_REFUSALS: Final[dict[type[Exception], ErrorCode]] = {
    BadOffset: ErrorCode.BAD_OFFSET,
    BadPattern: ErrorCode.BAD_PATTERN,
    Denied: ErrorCode.DENIED,
    ServiceDraining: ErrorCode.DRAINING,
    RunExpired: ErrorCode.EXPIRED,
    IdConflict: ErrorCode.CONFLICT,
    RunHasNoTerminal: ErrorCode.NO_TERMINAL,
    TooManyAttachments: ErrorCode.TOO_MANY_RUNS,
    TooManyRuns: ErrorCode.TOO_MANY_RUNS,
    UnknownRun: ErrorCode.UNKNOWN_RUN,
    RecordUnavailable: ErrorCode.UNAVAILABLE,
    OSError: ErrorCode.UNAVAILABLE,
}


def _signal(session: ServerSession, channel: int, message: m.Signal | m.Stop) -> None:
    run_channel = session.channels.get(channel)
    if not isinstance(run_channel, RunChannel):
        return
    run = run_channel.run
    what = "stop" if isinstance(message, m.Stop) else _signal_name(message.number)
    if session.may("signal", run):
        session.note("signal", run=run.plan.id, detail=what)
        run_channel.received(message)
    else:
        sentence = _may_not(session, "signal", run)
        session.note("denial", run=run.plan.id, detail=sentence)
        run_channel.failed(ErrorCode.DENIED, sentence)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # the real-time ones have no names but the first and last


def _to_channel(session: ServerSession, channel: int, message: m.AnyMessage) -> None:
    run_channel = session.channels.get(channel)
    if run_channel is not None:
        run_channel.received(message)
    if isinstance(message, m.Close):
        session.closed(channel)


_TABLE: Final[dict[Phase, dict[type[m.Message], Callable[[ServerSession, int, Any], None]]]] = {
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
        m.Credit: _to_channel,
        m.End: _to_channel,
        m.Signal: _signal,
        m.Stop: _signal,
        m.Resize: _to_channel,
        m.Close: _to_channel,
    },
    Phase.CLOSED: {},
}
