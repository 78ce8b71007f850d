"""Tables of which message is legal when: who may send it and what follows. Both sides use the same tables.

Messages on channel 0 move a connection from phase to phase (`CONNECTION_TRANSITIONS`). One message from the client
opens every other channel (`CHANNEL_MESSAGES`) and determines what each side may send on it. Each side ends its part
with exactly one final message (`FINAL_MESSAGES`); once both have sent theirs, the channel is closed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, TypeAlias

from . import messages as m


class Side(StrEnum):
    """One of the two sides of a connection."""

    CLIENT = "client"
    SERVER = "server"

    @property
    def peer(self) -> Side:
        """The other side."""
        return Side.SERVER if self is Side.CLIENT else Side.CLIENT


class Phase(StrEnum):
    """The phase of a connection."""

    HELLO = "hello"
    WELCOME = "welcome"
    LOGIN = "login"
    VERIFY = "verify"
    READY = "ready"
    CLOSED = "closed"


_Sent: TypeAlias = tuple[Side, type[m.Message]]
LegalMessages: TypeAlias = dict[Side, frozenset[type[m.Message]]]
"""The message types that each side may send."""

_C, _S = Side.CLIENT, Side.SERVER

CONNECTION_TRANSITIONS: Final[dict[Phase, dict[_Sent, Phase]]] = {
    Phase.HELLO: {(_C, m.Hello): Phase.WELCOME},
    Phase.WELCOME: {(_S, m.Welcome): Phase.LOGIN},
    Phase.LOGIN: {(_C, m.Login): Phase.VERIFY, (_S, m.Accepted): Phase.READY},
    Phase.VERIFY: {(_S, m.Accepted): Phase.READY, (_S, m.Refused): Phase.LOGIN},
    Phase.READY: {
        (_C, m.Ping): Phase.READY,
        (_S, m.Ping): Phase.READY,
        (_C, m.Pong): Phase.READY,
        (_S, m.Pong): Phase.READY,
        (_S, m.GoingAway): Phase.READY,
    },
    Phase.CLOSED: {},
}
for _phase in Phase:
    if _phase is not Phase.CLOSED:
        CONNECTION_TRANSITIONS[_phase] |= {(_C, m.Error): Phase.CLOSED, (_S, m.Error): Phase.CLOSED}

_ATTACHED: Final[LegalMessages] = {
    Side.CLIENT: frozenset({m.Credit, m.End, m.Signal, m.Stop, m.Resize, m.Close}),
    Side.SERVER: frozenset({m.Started, m.Credit, m.End, m.GapNotice, m.Resize, m.Exit, m.Ended, m.Error}),
}


def _request(*answers: type[m.Message]) -> LegalMessages:
    return {Side.CLIENT: frozenset({m.Close}), Side.SERVER: frozenset({*answers, m.Error})}


CHANNEL_MESSAGES: Final[dict[type[m.Message], LegalMessages]] = {
    m.RunRequest: _ATTACHED,
    m.Attach: _ATTACHED | {Side.SERVER: _ATTACHED[Side.SERVER] | {m.Done}},
    m.List: _request(m.Runs, m.Done),
    m.Deliver: _request(m.Done),
    m.WaitFor: _request(m.Matched),
    m.StatusRequest: _request(m.ServiceStatus),
    m.RecordingRequest: _request(m.OutputMarks, m.Done),
}
"""The messages with which a client opens a channel in phase READY, and what each side may then send on it."""

UNREADABLE_OPENING: Final[LegalMessages] = _request()
"""The same for a channel whose opening message could not be understood."""

LEGAL_BEFORE_STARTED: Final[frozenset[type[m.Message]]] = frozenset({m.Started, m.Ended, m.Error})
"""What the service may send before `started`, on a channel that has that message. Data may not precede `started`
either."""

AT_MOST_ONCE: Final[frozenset[type[m.Message]]] = frozenset({m.Started, m.Exit})
"""What may be sent at most once on a channel, besides the final messages."""

READ_ONLY_MESSAGES: Final[frozenset[type[m.Message]]] = frozenset({m.Credit, m.Close})
"""What the client may send on a channel opened by an `attach` that is `read_only`."""

TERMINAL_ONLY: Final[frozenset[type[m.Message]]] = frozenset({m.Resize})
"""What neither side may send on a channel opened by a `run` without `terminal` or an `attach` without `size`."""

LEGAL_AFTER_CLOSE: Final[frozenset[type[m.Message]]] = frozenset({m.Done})
"""What the service may send on any channel after the client's final message. Other answers are no longer possible
then."""

FINAL_MESSAGES: Final[LegalMessages] = {
    Side.CLIENT: frozenset({m.Close}),
    Side.SERVER: frozenset({m.Ended, m.Done, m.Matched, m.ServiceStatus, m.Error}),
}
"""The messages with which each side ends its part of a channel."""
