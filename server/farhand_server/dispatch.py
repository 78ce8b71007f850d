"""Which handler serves which message in which phase. Nothing but the messages of login is served before it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.states import Phase
from farhand_server.channels.channel import Channel
from farhand_server.channels.deliver import DeliverChannel
from farhand_server.channels.listing import ListChannel
from farhand_server.channels.pattern import BadPattern
from farhand_server.channels.plan import Denied, decide
from farhand_server.channels.run import RunChannel
from farhand_server.channels.waiting import MAX_WAITS, WaitChannel
from farhand_server.runs.registry import Draining, Expired, IdConflict, TooManyRuns, Unavailable
from farhand_server.runs.run import BadOffset, Run

if TYPE_CHECKING:
    from farhand_server.session import Session


def dispatch(session: Session, channel: int, message: m.AnyMessage) -> None:
    """Serve a message that the connection has found legal, and that has brought it into the phase it is in."""
    handler = _TABLE[session.connection.phase].get(type(message))
    if handler is not None:
        handler(session, channel, message)


def _hello(session: Session, channel: int, message: m.Hello) -> None:
    if m.VERSION not in message.versions:
        session.connection.fail(
            ErrorCode.UNSUPPORTED_VERSION,
            f"this service speaks version {m.VERSION} of the protocol, and none of the client's",
        )
        return
    session.welcome(message)


def _login(session: Session, channel: int, message: m.Login) -> None:
    principal = session.authenticate(message.public_key, message.signature)
    if principal is None:
        session.refuse()
    else:
        session.accept(principal)


def _run(session: Session, channel: int, message: m.Run) -> None:
    assert session.principal is not None
    assert session.home is not None
    config = session.core.config
    limit = config.runs.max_runs_per_connection
    try:
        if _count(session, RunChannel) >= limit:
            raise TooManyRuns(
                f"{limit} runs are under way on this connection, and it takes no more (runs.max_runs_per_connection)"
            )
        plan = decide(message, session.principal, session.home, config)
        run, new = session.core.registry.start(plan, max_runs=config.runs.max_runs)
        _add(session, RunChannel(session, channel, run, message, new=new))
    except tuple(_REFUSALS) as error:
        _refuse(session, channel, message.id, error)
        return
    session.log.debug("run started" if new else "run attached to", run=plan.id)


def _attach(session: Session, channel: int, message: m.Attach) -> None:
    try:
        run = _known(session, message.id)
        _add(session, RunChannel(session, channel, run, message, new=False))
    except tuple(_REFUSALS) as error:
        _refuse(session, channel, message.id, error)
        return
    session.log.debug("run attached to", run=message.id)


def _list(session: Session, channel: int, message: m.List) -> None:
    assert session.principal is not None
    try:
        after = None if message.before is None else _known(session, message.before)
    except tuple(_REFUSALS) as error:
        _refuse(session, channel, message.before, error)
        return
    owner, sees = session.principal.user, partial(_sees, session)
    _add(session, ListChannel(session, channel, message, session.core.registry, after=after, owner=owner, sees=sees))


def _deliver(session: Session, channel: int, message: m.Deliver) -> None:
    try:
        run = _known(session, message.id)
    except tuple(_REFUSALS) as error:
        _refuse(session, channel, message.id, error)
        return
    _add(session, DeliverChannel(session, channel, run, message))
    session.log.debug("signal delivered", run=message.id, signal=message.number)


def _wait_for(session: Session, channel: int, message: m.WaitFor) -> None:
    try:
        if _count(session, WaitChannel) >= MAX_WAITS:
            raise TooManyRuns(f"{MAX_WAITS} runs are waited for on this connection, and it takes no more; use another")
        run = _known(session, message.id)
        _add(session, WaitChannel(session, channel, run, message))
    except tuple(_REFUSALS) as error:
        _refuse(session, channel, message.id, error)


class UnknownRun(Exception):
    """There is no such run, or it is not this principal's to know of; the text does not say which."""


def _sees(session: Session, run: Run) -> bool:
    assert session.principal is not None
    return run.plan.owner == session.principal.user


def _known(session: Session, run_id: str) -> Run:
    run = session.core.registry.find(run_id)
    if run is None or not _sees(session, run):
        raise UnknownRun(f"there is no run {run_id} here")
    return run


def _add(session: Session, channel: Channel) -> None:
    session.channels[channel.number] = channel
    channel.begin()


def _count(session: Session, kind: type[Channel]) -> int:
    return sum(isinstance(channel, kind) for channel in session.channels.values())


def _refuse(session: Session, channel: int, run_id: str | None, error: Exception) -> None:
    code = next(code for kind, code in _REFUSALS.items() if isinstance(error, kind))
    session.connection.send(channel, m.Error(code=code, message=str(error)))
    session.log.warning("run refused", run=run_id, reason=str(error))


_REFUSALS: Final[dict[type[Exception], ErrorCode]] = {
    BadOffset: ErrorCode.BAD_OFFSET,
    BadPattern: ErrorCode.BAD_PATTERN,
    Denied: ErrorCode.DENIED,
    Draining: ErrorCode.DRAINING,
    Expired: ErrorCode.EXPIRED,
    IdConflict: ErrorCode.CONFLICT,
    TooManyRuns: ErrorCode.TOO_MANY_RUNS,
    UnknownRun: ErrorCode.UNKNOWN_RUN,
    Unavailable: ErrorCode.UNAVAILABLE,
    OSError: ErrorCode.UNAVAILABLE,
}


def _to_channel(session: Session, channel: int, message: m.AnyMessage) -> None:
    run_channel = session.channels.get(channel)
    if run_channel is not None:
        run_channel.received(message)
    if isinstance(message, m.Close):
        session.closed(channel)


_TABLE: Final[dict[Phase, dict[type[m.Message], Callable[[Session, int, Any], None]]]] = {
    Phase.HELLO: {},
    Phase.WELCOME: {m.Hello: _hello},
    Phase.LOGIN: {},
    Phase.VERIFY: {m.Login: _login},
    Phase.READY: {
        m.Run: _run,
        m.Attach: _attach,
        m.List: _list,
        m.Deliver: _deliver,
        m.WaitFor: _wait_for,
        m.Credit: _to_channel,
        m.End: _to_channel,
        m.Signal: _to_channel,
        m.Stop: _to_channel,
        m.Close: _to_channel,
    },
    Phase.CLOSED: {},
}
