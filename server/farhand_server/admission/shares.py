"""What each user may use of what all users share and the service cannot take back: runs, connections, descriptors,
waits.

How a pool is divided is in `sharing`. Root and the service's own account are not bound by shares: they may use the
whole pool, and a part of it is a reserve for them alone. In an ordinary user's service nobody else logs in, so nobody
is bound.

A share belongs to an account, by its uid: two keys of one account have one share between them. Nothing here is
remembered: all amounts are those of the runs and connections that exist, so an upgrade changes no share.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, NoReturn, Protocol

from farhand_protocol import messages as m
from farhand_server.auth.accounts import Principal
from farhand_server.config import ServiceConfig
from farhand_server.runs.kept import KeptRuns
from farhand_server.runs.output.directory import SpoolDirectory
from farhand_server.runs.output.spool import SpoolMemory
from farhand_server.runs.plan import Plan
from farhand_server.runs.start_queue import MAX_START_WAIT, StartQueue
from farhand_server.sharing import Tally, bound_by_shares, fair_part

MAX_ALL_WAITS: Final = 1024
"""Waits in the whole service at once. Each may hold a pattern of 1 MiB, and most hold less than a hundredth of that."""

RUN_DESCRIPTORS: Final = 6
"""Descriptors that one run needs: three pipes, two pidfds (asyncio's and ours), and possibly its own connection."""

SMALL_USE: Final = 6
"""What one run takes of any pool. Who is refused with no more than that must not hear that it is too much."""

CORE_DESCRIPTORS: Final = 64
"""Descriptors not used by runs: sockets, the event loop's, the standard three, and those of a run being started."""


@dataclass(frozen=True, slots=True)
class Share:
    """One user's part of a pool: how much the user has, and how much the user may have now."""

    resource: str
    used: int
    limit: int
    total: int
    """The size of the pool, for all users together."""
    others: int
    """What all other users have."""
    bounded: bool = False
    """Whether the policy's bound is lower than what the user could have otherwise."""


class ShareUsedUp(Exception):
    """The user has all of a share. The text says which one, and what to do."""


class SharedRuns(Protocol):
    """How many runs each user has."""

    @property
    def by_user(self) -> Tally[int]:
        """The active runs of each account."""

    @property
    def by_rule(self) -> Tally[tuple[int, str]]:
        """The active runs of each account by the policy's rule that allowed them."""

    def owner(self, uid: int) -> str | None:
        """Return the name of an account that has had runs."""

    @property
    def kept(self) -> KeptRuns:
        """The runs that are over, whose output can be deleted."""

    @property
    def directory(self) -> SpoolDirectory:
        """The files of output."""

    @property
    def memory(self) -> SpoolMemory:
        """The memory that output uses."""

    @property
    def starts(self) -> StartQueue:
        """The runs that wait to be launched."""


class Shares:
    """The pools of one service. Those who open and close them count `connections`, `waits` and what is `awaited`."""

    def __init__(self, runs: SharedRuns) -> None:
        self.connections: Final[Tally[int]] = Tally()
        self.waits: Final[Tally[int]] = Tally()
        self.awaited: Final[Tally[int]] = Tally()
        """Requests for runs that wait for a worker to look at files."""
        self.bounds: Final = runs.memory.bounds
        """What the policy lets each account have."""
        self._runs = runs

    def of(self, uid: int, config: ServiceConfig) -> tuple[Share, ...]:
        """Return all shares of an account, as they are now."""
        disk = self._runs.directory
        on_disk, all_on_disk = disk.by_user.of(uid), disk.by_user.total
        return (
            *self._checked(uid, config),
            self._memory(uid, config),
            Share("disk", on_disk, disk.part(uid), all_on_disk + disk.space_left(), all_on_disk - on_disk),
        )

    def _checked(self, uid: int, config: ServiceConfig) -> tuple[Share, Share, Share, Share]:
        """Return the shares that are checked here; those of memory and disk are where output is kept."""
        runs, connections, bounds = self._runs.by_user, self.connections, self.bounds.of(uid)
        descriptors = runs.total * RUN_DESCRIPTORS + connections.total
        own_descriptors = runs.of(uid) * RUN_DESCRIPTORS + connections.of(uid)
        return (
            self._share(uid, "runs", config.runs.max_runs, runs.total, runs.of(uid), bounds.runs),
            self._share(
                uid, "connections", config.edge.connections, connections.total, connections.of(uid), bounds.connections
            ),
            self._share(uid, "descriptors", descriptors_of_runs(), descriptors, own_descriptors),
            self._share(uid, "waits", MAX_ALL_WAITS, self.waits.total, self.waits.of(uid), bounds.waits),
        )

    def users(self) -> frozenset[int]:
        """Return the accounts that have anything."""
        runs = self._runs
        return frozenset((*runs.by_user, *self.connections, *self.waits, *runs.memory.by_user, *runs.directory.by_user))

    def user(self, uid: int) -> str:
        """Return the name of an account that has anything, as far as that is known without asking a name service."""
        return self.bounds.user(uid) or self._runs.owner(uid) or str(uid)

    def check_run(self, plan: Plan, config: ServiceConfig) -> None:
        """Raise `ShareUsedUp` if the account may not start another run now, or not another by the same rule."""
        uid, user, rule = plan.uid, plan.owner, plan.rule
        if rule.runs is not None and self._runs.by_rule.of((uid, rule.name)) >= rule.runs:
            raise ShareUsedUp(
                f"the policy allows {user} {rule.runs} of these runs at once, and all are active; end one, or wait "
                "until one has ended"
            )
        delay = self._runs.starts.delay(uid, rule)
        if delay > MAX_START_WAIT:
            raise ShareUsedUp(f"the policy lets {user} start {rule.starts} of these runs; try again in {delay:.0f} s")
        if bound_by_shares(uid):
            runs, _, descriptors, _ = self._checked(uid, config)
            if runs.used >= runs.limit:
                _refuse(
                    runs,
                    f"{user} has {runs.used} active runs, its whole share of this service; end some, or wait until "
                    "some have ended",
                )
            if descriptors.used + RUN_DESCRIPTORS > descriptors.limit:
                _refuse(descriptors, _descriptors_sentence(user, descriptors))
            self._check_memory(uid, user, config)

    def check_awaited(self, uid: int, user: str, config: ServiceConfig) -> None:
        """Raise `ShareUsedUp` if the account may not have another request wait for a worker: each may become a run, and
        is kept in memory until then."""
        if bound_by_shares(uid):
            runs, *_ = self._checked(uid, config)
            runs = replace(runs, used=runs.used + self.awaited.of(uid))
            if runs.used >= runs.limit:
                _refuse(
                    runs,
                    f"{user} has {runs.used} active runs and requests that are being judged, its whole share of this "
                    "service; end some, or wait until some have ended",
                )

    def _check_memory(self, uid: int, user: str, config: ServiceConfig) -> None:
        share = self._memory(uid, config)
        if share.used < share.limit:
            return
        used = share.used - self._runs.kept.memory_of(uid)  # what is kept for later readers makes room
        if used >= share.limit:
            whose = "all that the policy lets it have" if share.bounded else "its whole share of this service"
            raise ShareUsedUp(
                f"the runs of {user} hold {used >> 20} MiB of output and stdin that nobody has read, and of large "
                f"requests, {whose}; read the output, or end some of them"
            )

    def _memory(self, uid: int, config: ServiceConfig) -> Share:
        memory, bound = self._runs.memory, self.bounds.of(uid).memory
        return self._share(uid, "memory", config.runs.memory, memory.used, memory.by_user.of(uid), bound)

    def check_connection(self, uid: int, user: str, config: ServiceConfig) -> None:
        """Raise `ShareUsedUp` if the account may not have another connection now."""
        if bound_by_shares(uid):
            _, connections, descriptors, _ = self._checked(uid, config)
            if connections.used >= connections.limit:
                _refuse(
                    connections,
                    f"{user} has {connections.used} connections, its whole share of this service; close some, or use "
                    "one connection for several runs",
                )
            if descriptors.used >= descriptors.limit:
                _refuse(descriptors, _descriptors_sentence(user, descriptors))

    def check_wait(self, uid: int, user: str, config: ServiceConfig) -> None:
        """Raise `ShareUsedUp` if the account may not wait for another run now."""
        *_, waits = self._checked(uid, config)
        if bound_by_shares(uid) and waits.used >= waits.limit:
            _refuse(waits, f"{user} has {waits.used} waits, its whole share of this service; end some of them")

    def _share(self, uid: int, what: str, total: int, used: int, used_by_user: int, bound: int | None = None) -> Share:
        limit, bounded = total, False
        if bound_by_shares(uid):
            limit = fair_part(total, used, used_by_user)
            bounded = bound is not None and bound < limit
            limit = bound if bound is not None and bounded else limit
        return Share(what, used_by_user, limit, total, used - used_by_user, bounded)


def _refuse(share: Share, sentence: str) -> NoReturn:
    """Raise `ShareUsedUp` with this sentence; or another one, if it is others who have the pool, or the policy that
    bounds the user."""
    if share.bounded:
        raise ShareUsedUp(
            f"the policy lets you have {share.limit} {share.resource} at once, and you have {share.used}; end some, or "
            "wait until some have ended"
        )
    if share.used <= min(SMALL_USE, share.others):
        raise ShareUsedUp(
            f"this service has no {share.resource} left for you: others have {share.others} of {share.total}, and the "
            "rest is a reserve; try again later"
        )
    raise ShareUsedUp(sentence)


def _descriptors_sentence(user: str, descriptors: Share) -> str:
    return (
        f"the runs and connections of {user} use {descriptors.used} descriptors, its whole share of this service; end "
        "some, or wait until some have ended"
    )


def shares_shown(shares: Shares, who: Principal, config: ServiceConfig) -> tuple[m.ShareInfo, ...]:
    """Return the shares of `who`; for root and the service's account, what all users have, who has most first."""
    if bound_by_shares(who.uid):
        return tuple(_info(who.user, share) for share in shares.of(who.uid, config))
    users = {uid: shares.of(uid, config) for uid in shares.users()}
    ordered = sorted(users, key=lambda uid: max(share.used / max(1, share.total) for share in users[uid]), reverse=True)
    shown = ((uid, share) for uid in ordered for share in users[uid] if share.used)
    return tuple(_info(shares.user(uid), share) for uid, share in islice(shown, m.MAX_SHARES))


def _info(user: str, share: Share) -> m.ShareInfo:
    return m.ShareInfo(user=user[: m.MAX_CLIENT_USER], resource=share.resource, used=share.used, limit=share.limit)


def descriptors_of_runs() -> int:
    """Return how many descriptors there are for runs and connections (RLIMIT_NOFILE, getrlimit(2))."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(0, (1 << 20 if soft == resource.RLIM_INFINITY else soft) - CORE_DESCRIPTORS)
