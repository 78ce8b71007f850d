"""Which message is legal when: two tables for both sides, who sends and what follows.

A connection walks through phases by the messages on channel 0. A channel is opened by one message and has a set of
messages for each side; each side has exactly one kind of last message on it. The channel is gone when both were sent.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, TypeAlias

from . import messages as m


class Side(StrEnum):
    """Who speaks."""

    CLIENT = "client"
    SERVER = "server"

    @property
    def peer(self) -> Side:
        """The other side."""
        return Side.SERVER if self is Side.CLIENT else Side.CLIENT


class Phase(StrEnum):
    """Where a connection stands."""

    HELLO = "hello"
    WELCOME = "welcome"
    LOGIN = "login"
    VERIFY = "verify"
    READY = "ready"
    CLOSED = "closed"


_Word: TypeAlias = tuple[Side, type[m.Message]]
LegalMessages: TypeAlias = dict[Side, frozenset[type[m.Message]]]
"""What each side may say."""

_C, _S = Side.CLIENT, Side.SERVER

CONNECTION_TRANSITIONS: Final[dict[Phase, dict[_Word, Phase]]] = {
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


def _asked(*answers: type[m.Message]) -> LegalMessages:
    return {Side.CLIENT: frozenset({m.Close}), Side.SERVER: frozenset({*answers, m.Error})}


CHANNEL_MESSAGES: Final[dict[type[m.Message], LegalMessages]] = {
    m.RunRequest: _ATTACHED,
    m.Attach: _ATTACHED | {Side.SERVER: _ATTACHED[Side.SERVER] | {m.Done}},
    m.List: _asked(m.Runs, m.Done),
    m.Deliver: _asked(m.Done),
    m.WaitFor: _asked(m.Matched),
    m.RecordingRequest: _asked(m.OutputMarks, m.Done),
}
"""The messages with which a client opens a channel, in phase READY, and what each side may then say on it."""

UNREADABLE_OPENING: Final[LegalMessages] = _asked()
"""The same for a channel whose opening message could not be understood."""

LEGAL_BEFORE_STARTED: Final[frozenset[type[m.Message]]] = frozenset({m.Started, m.Ended, m.Error})
"""What the service may say first on a channel where it may say `started`; no data come before that either."""

AT_MOST_ONCE: Final[frozenset[type[m.Message]]] = frozenset({m.Started, m.Exit})
"""What is said on one channel once at the most, as a side's last is."""

READ_ONLY_MESSAGES: Final[frozenset[type[m.Message]]] = frozenset({m.Credit, m.Close})
"""What the client may say on a channel opened by an `attach` that is `read_only`."""

TERMINAL_ONLY: Final[frozenset[type[m.Message]]] = frozenset({m.Resize})
"""What nobody may say on a channel opened by a `run` without `terminal`, or an `attach` without `size`."""

LEGAL_AFTER_CLOSE: Final[frozenset[type[m.Message]]] = frozenset({m.Done})
"""What the service may say on every channel once the client has said its last: all else that it had to say is void."""

FINAL_MESSAGES: Final[LegalMessages] = {
    Side.CLIENT: frozenset({m.Close}),
    Side.SERVER: frozenset({m.Ended, m.Done, m.Matched, m.Error}),
}
"""What ends a side's part of a channel."""
