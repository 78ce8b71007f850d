"""Decides about each connection on the core's sockets when it is accepted, before anything is kept for it.

Only the edge's account can connect to the edges' socket, where the kernel allows that to be said (`unix.only`). Anyone
on the machine may connect to the local socket, and the kernel says which account it is. An account that may not use
the service costs little, however often it connects: it is looked up and judged every `JUDGEMENT_TIME` seconds, and each
other connection costs one system call more than accepting and closing it. It is told why as often as a person could
read it, and the log and the audit log get one entry about it per `LOG_INTERVAL`, with the number of the others.

An account that may use the service has its share of connections, and its rate of new ones.

No tunnel of this service leads to these sockets. The kernel would say that the account has connected, but it is a
client who has logged in by key, and the key may be for less than the account (`command=`, a rule of the policy).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from farhand_protocol.connection import Connection
from farhand_protocol.errors import ErrorCode
from farhand_protocol.states import Side

from ..admission.shares import ShareUsedUp
from ..audit import AuditEntry
from ..connection.context import SessionContext
from ..connection.login import account_unavailable
from ..logs import Logger
from ..policy import Policy, has_rule_for
from ..sharing import Rate, TokenBucket, bound_by_shares
from ..throttle import LOG_INTERVAL, LogThrottle
from .clients import LocalConnection
from .local_accounts import FoundAccount, LocalAccounts
from .unix import Serve, socket_peer_pid

JUDGEMENT_TIME: Final = 2.0
"""Seconds for which it is remembered whether an account may use the service. Looking it up may mean asking a directory
server about groups. Who has just been given a rule by a new group waits no longer than this."""

CONNECTS: Final = Rate(400, 2.0)
"""New connections of one account: 200 a second, as of `farhand run` in a loop in eight shells, and twice as many at
once after a pause. Each costs the core half a millisecond, so this is a tenth of its time."""

EXPLANATIONS: Final = Rate(10, 1.0)
"""Refusals that one account is told the reason of. More than that, nobody reads."""

ENTRIES: Final = Rate(10, 10.0)
"""Entries in log and audit log about refusals, for all accounts together: in a user namespace, one person may have many
uids (subuid(5))."""

MAX_ACCOUNTS: Final = 1024
"""Accounts that are remembered, in 0.5 MiB; the one that has not connected for the longest time is forgotten first. In
a user namespace, one person may have 65,536 uids (subuid(5))."""

MAX_EXPLAINED: Final = 32
"""Refused connections that stay open until the client has read the reason: a client that is still writing its first
message when the connection is closed never reads the answer (EPIPE)."""

EXPLAINED_TIME: Final = 1.0
"""Seconds for which such a connection stays open."""


@dataclass(frozen=True, slots=True)
class LocalRefusal:
    """Why an account is not admitted. A `fault` is the service's, and says nothing about the account."""

    code: ErrorCode
    sentence: str
    fault: bool = False


NO_TUNNEL_TO_US: Final = LocalRefusal(ErrorCode.DENIED, "a tunnel does not lead to the service that it belongs to")


TOO_MANY_WAIT: Final = LocalRefusal(
    ErrorCode.UNAVAILABLE,
    account_unavailable(OSError(errno.EAGAIN, "too many connections wait for a name service")),
    fault=True,
)


class _Account:
    """What is remembered of one account."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.policy: Policy | None = None
        self.judged = 0.0
        self.refusal: LocalRefusal | None = None
        self.connects = TokenBucket(CONNECTS)
        self.explanations = TokenBucket(EXPLANATIONS)
        self.next_entry = 0.0
        self.kept_back = 0


class EdgeGate:
    """Admits connections on the edges' socket that come from an edge, or closes them."""

    def __init__(
        self, context: SessionContext, make_protocol: Callable[[], asyncio.BaseProtocol], log: LogThrottle
    ) -> None:
        self._context = context
        self._make_protocol = make_protocol
        self._log = log

    def admit(self, sock: socket.socket, uid: int, serve: Serve) -> None:
        """Serve an accepted connection whose peer runs as the edge's account or root. Otherwise close it."""
        if uid not in (self._context.config.edge.account, 0):
            reason = f"not the edge's account, {self._context.config.edge.account}"
        elif socket_peer_pid(sock) in self._context.registry.tunnels:
            reason = "a tunnel"
        else:
            serve(sock, self._make_protocol())
            return
        sock.close()
        self._log.warning("edge refused", reason=reason)


class LocalGate:
    """Admits connections on the local socket, or refuses and closes them. `clock` is monotonic."""

    def __init__(self, context: SessionContext, log: Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._context = context
        self._log = log
        self._clock = clock
        self._look_ups = LocalAccounts(lambda: context.config.login.deadline)
        self._accounts: OrderedDict[int, _Account] = OrderedDict()
        self._entries = TokenBucket(ENTRIES)
        self._kept_back = 0
        self._explained: OrderedDict[socket.socket, asyncio.TimerHandle] = OrderedDict()

    def admit(self, sock: socket.socket, uid: int, serve: Serve) -> None:
        """Serve an accepted connection of this account, once that was looked up, if it is admitted. Otherwise close
        it."""
        account, now = self._account(uid), self._clock()
        if socket_peer_pid(sock) in self._context.registry.tunnels:
            self._refuse(sock, uid, account, NO_TUNNEL_TO_US)
        elif bound_by_shares(uid) and (refusal := self._known_refusal(uid, account, now)) is not None:
            self._refuse(sock, uid, account, refusal)
        elif not self._look_ups.look_up(uid, sock, partial(self._decide, uid, serve)):
            self._refuse(sock, uid, account, TOO_MANY_WAIT)

    def _known_refusal(self, uid: int, account: _Account, now: float) -> LocalRefusal | None:
        """Return why a connection is refused whatever is found now."""
        return (account.refusal if self._is_judged(account, now) else None) or self._overuse(uid, account, now)

    def _is_judged(self, account: _Account, now: float) -> bool:
        return account.policy is self._context.policy and now < account.judged + JUDGEMENT_TIME

    def _decide(self, uid: int, serve: Serve, sock: socket.socket, found: FoundAccount | Exception) -> None:
        account, now = self._account(uid), self._clock()
        if isinstance(found, FoundAccount):
            account.user = found.caller.principal.user
        if isinstance(found, Exception) or not self._is_judged(account, now):
            account.policy, account.judged, account.refusal = self._context.policy, now, self._judge(found)
        if account.refusal is not None:
            self._refuse(sock, uid, account, account.refusal)
        elif isinstance(found, FoundAccount):
            self._look_ups.admitted(uid)
            serve(sock, LocalConnection(self._context, self._log, found.caller))

    def _refuse(self, sock: socket.socket, uid: int, account: _Account, refusal: LocalRefusal) -> None:
        now = self._clock()
        if account.explanations.take(now):
            self._explain(sock, refusal)
        else:
            sock.close()
        self._note(account, refusal, now)

    def close(self) -> None:
        """Close the refused connections that are still open, and those of which the account is being looked up."""
        self._look_ups.close()
        for sock in tuple(self._explained):
            self._part(sock)

    def _account(self, uid: int) -> _Account:
        account = self._accounts.get(uid)
        if account is None:
            account = self._accounts[uid] = _Account(self._context.shares.bounds.user(uid) or str(uid))
            if len(self._accounts) > MAX_ACCOUNTS:
                self._accounts.popitem(last=False)
        self._accounts.move_to_end(uid)
        return account

    def _judge(self, found: FoundAccount | Exception) -> LocalRefusal | None:
        if isinstance(found, OSError):
            return LocalRefusal(ErrorCode.UNAVAILABLE, account_unavailable(found), fault=True)
        if isinstance(found, Exception):
            self._log.error("account not looked up because of an internal error", error=found)
            return LocalRefusal(
                ErrorCode.INTERNAL, "the service failed to look up your account; its log says why", True
            )
        principal, subject = found.caller.principal, found.caller.subject
        if not bound_by_shares(principal.uid):
            return None
        own = os.geteuid()
        if own == 0 and has_rule_for(self._context.policy, subject):
            self._context.shares.bounds.add(principal.uid, principal.user, subject.groups)
            return None
        sentence = f"this service is for the account {found.service}, and you are {principal.user}"
        if own == 0:
            sentence += "; its policy has no rule for you on this machine (over the network, log in with a key)"
        return LocalRefusal(ErrorCode.DENIED, sentence)

    def _overuse(self, uid: int, account: _Account, now: float) -> LocalRefusal | None:
        context = self._context
        try:
            context.shares.check_connection(uid, account.user, context.config)
        except ShareUsedUp as error:
            return LocalRefusal(ErrorCode.TOO_MANY_RUNS, str(error))
        if account.connects.take(now):
            return None
        often = f"{account.user} opens connections too often, more than {CONNECTS.number} in {CONNECTS.seconds:g} s"
        sentence = f"{often}; use one connection for several runs"
        return LocalRefusal(ErrorCode.TOO_MANY_RUNS, sentence)

    def _note(self, account: _Account, refusal: LocalRefusal, now: float) -> None:
        if now < account.next_entry:
            account.kept_back += 1
            return
        if not self._entries.take(now):
            self._kept_back += 1
            return
        account.next_entry = now + LOG_INTERVAL
        more, account.kept_back = account.kept_back or None, 0
        others, self._kept_back = self._kept_back or None, 0
        user = account.user
        self._log.warning("local client refused", user=user, reason=refusal.sentence, kept_back=more, others=others)
        if refusal.code is ErrorCode.DENIED:
            detail = refusal.sentence if more is None else f"{refusal.sentence} ({more} more since the last entry)"
            self._context.note(
                AuditEntry("login_refused", time.time(), user=user, how="peer", outcome="denied", detail=detail)
            )

    def _explain(self, sock: socket.socket, refusal: LocalRefusal) -> None:
        connection = Connection(Side.SERVER)
        connection.fail(refusal.code, refusal.sentence)
        with contextlib.suppress(OSError):
            sock.send(b"".join(connection.data_to_send()))  # an empty socket's buffer takes it whole
        if len(self._explained) >= MAX_EXPLAINED:
            self._part(next(iter(self._explained)))
        loop = asyncio.get_running_loop()
        loop.add_reader(sock, self._client_sent, sock)
        self._explained[sock] = loop.call_later(EXPLAINED_TIME, self._part, sock)

    def _client_sent(self, sock: socket.socket) -> None:
        try:
            over = not sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            over = True
        if over:
            self._part(sock)

    def _part(self, sock: socket.socket) -> None:
        self._explained.pop(sock).cancel()
        asyncio.get_running_loop().remove_reader(sock)
        sock.close()
