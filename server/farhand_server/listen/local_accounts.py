"""Looks up the accounts of local clients elsewhere than on the loop, because a name service may not answer.

Connections of one account that come while it is being looked up wait for the same answer: one whose look-up hangs holds
up only its own connections, and keeps one thread. A few look-ups run side by side (`auth.work`).
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from farhand_server.admission.caller import Caller
from farhand_server.auth.accounts import peer_principal, user_name
from farhand_server.auth.work import LoginWork
from farhand_server.sharing import Tally, bound_by_shares, fair_part

MAX_LOCAL_WAITING: Final = 1024
"""Connections that may wait for a look-up at once, of all accounts: each has a descriptor and about a KiB. Accounts
that have never been admitted may have half of these between them: in a user namespace, one person may have 65,536 uids
(subuid(5)), for all of which a name service may hang."""

LOCAL_AT_ONCE: Final = 4
"""Look-ups that run side by side. They hold up another only if all four take long, and for half a second."""


class FoundAccount(NamedTuple):
    """A local client, and the name of the account of which the service is."""

    caller: Caller
    service: str


Decide = Callable[[socket.socket, "FoundAccount | Exception"], None]
"""Decides about a connection once its account was looked up, or could not be."""


class LocalAccounts:
    """Has the accounts of connections looked up. A connection that has waited for `deadline()` seconds waits no longer.

    Call `admitted` for each account that was let in.
    """

    def __init__(self, deadline: Callable[[], float]) -> None:
        self._deadline = deadline
        self._work = LoginWork(at_once=LOCAL_AT_ONCE, loop_cost=0.0)
        self._waiting: dict[int, dict[socket.socket, tuple[Decide, asyncio.TimerHandle]]] = {}
        """The connections that wait, by account. An account is in it for as long as a look-up runs."""
        self._number: Tally[int] = Tally()

    def look_up(self, uid: int, sock: socket.socket, decide: Decide) -> bool:
        """Look an account up for a connection, and let `decide` know. Return False if too many wait already."""
        if not self._has_room(uid):
            return False
        waiting = self._waiting.get(uid)
        if waiting is None:
            waiting = self._waiting[uid] = {}
            self._work.of(uid)(partial(_find, uid)).add_done_callback(partial(self._found, uid))
        timer = asyncio.get_running_loop().call_later(self._deadline(), self._overdue, uid, sock)
        waiting[sock] = decide, timer
        self._number.add(uid)
        return True

    def admitted(self, uid: int) -> None:
        """Remember an account that was let in."""
        self._work.logged_in(uid)

    def close(self) -> None:
        """Close the connections that wait."""
        for uid, waiting in self._waiting.items():
            for sock in tuple(waiting):
                self._take(uid, sock)
                sock.close()

    def _has_room(self, uid: int) -> bool:
        number, total = self._number, MAX_LOCAL_WAITING if self._work.knows(uid) else MAX_LOCAL_WAITING // 2
        return number.of(uid) < (
            fair_part(total, number.total, number.of(uid)) if bound_by_shares(uid) else MAX_LOCAL_WAITING
        )

    def _found(self, uid: int, done: asyncio.Future[FoundAccount]) -> None:
        error = done.exception()
        found = done.result() if error is None else error
        assert isinstance(found, FoundAccount | Exception)
        for sock in tuple(self._waiting[uid]):
            self._take(uid, sock)(sock, found)
        del self._waiting[uid]

    def _overdue(self, uid: int, sock: socket.socket) -> None:
        self._take(uid, sock)(sock, TimeoutError(errno.ETIMEDOUT, "the name service does not answer"))

    def _take(self, uid: int, sock: socket.socket) -> Decide:
        decide, timer = self._waiting[uid].pop(sock)
        timer.cancel()
        self._number.remove(uid)
        return decide


def _find(uid: int) -> FoundAccount:
    """Look up the account of a peer. Root is admitted as the service's account. Raises OSError if descriptors lack."""
    own = os.geteuid()
    caller = Caller.of(peer_principal(uid or own))
    principal = caller.principal
    return FoundAccount(caller, principal.user if principal.uid == own else user_name(own))
