"""How users share something of which there is a fixed amount, and which cannot be taken back. Without I/O.

What nobody else uses may be used, and what many want is divided. A user may hold up to `ALPHA` times what is still free
of a pool: the dynamic thresholds of Choudhury and Hahne ("Dynamic Queue Length Thresholds for Shared-Memory Packet
Switches", IEEE/ACM Transactions on Networking 6(2), 1998). So one user alone gets two thirds of a pool, n users that
all want everything get 2/(2n + 1) of it each, and there is always room for the next user. No configuration is needed,
and a user's part grows again as soon as others give something back.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterator
from typing import Final, Generic, NamedTuple, TypeVar

ALPHA: Final = 2
"""With 1, one user alone would leave half of a pool unused; with 4, ten users that want everything would leave only
1/41 of it to the next one: 23 of 1,024 runs. With 2 it is two thirds, and 1/21: 45 runs."""

RESERVE: Final = 16
"""The part of each pool that only root and the service's own account may use: one in 16, 64 of 1,024 runs. An
administrator who has to find out who uses up a machine needs a few."""

_Key = TypeVar("_Key", bound=Hashable)


class Tally(Generic[_Key]):
    """Amounts by user, and their `total`. Users that have nothing are not remembered."""

    def __init__(self) -> None:
        self.total = 0
        self._amounts: dict[_Key, int] = {}

    def __iter__(self) -> Iterator[_Key]:
        """Iterate over everyone who has something."""
        return iter(tuple(self._amounts))

    def __len__(self) -> int:
        """Return how many users have something."""
        return len(self._amounts)

    def of(self, user: _Key) -> int:
        """Return how much `user` has."""
        return self._amounts.get(user, 0)

    def add(self, user: _Key, amount: int = 1) -> None:
        """Count `amount` more for `user`; a negative amount counts less. Nobody can have less than nothing."""
        now = self._amounts.get(user, 0) + amount
        if now < 0:
            raise ValueError(f"{user} has {self.of(user)} and cannot give back {-amount}")
        self.total += amount
        if now:
            self._amounts[user] = now
        else:
            self._amounts.pop(user, None)

    def remove(self, user: _Key, amount: int = 1) -> None:
        """Count `amount` less for `user`."""
        self.add(user, -amount)

    def clear(self) -> None:
        """Count nothing any more for anybody."""
        self.total = 0
        self._amounts.clear()

    def hold(self, user: _Key) -> Callable[[], None]:
        """Count one more for `user`, and return a function that counts it no longer. Repeated calls of that do
        nothing."""
        self.add(user)
        held = True

        def release() -> None:
            nonlocal held
            if held:
                held = False
                self.remove(user)

        return release


class ShareBounds(NamedTuple):
    """The most that one account may have of each pool, whatever is free; None is no bound. `memory` and `disk` are in
    bytes."""

    runs: int | None = None
    connections: int | None = None
    waits: int | None = None
    memory: int | None = None
    disk: int | None = None


NO_BOUNDS: Final = ShareBounds()


class AccountBounds:
    """The bounds of each account that has logged in. One that has not has nothing that could be bounded.

    It remembers as many accounts as the machine has at most.
    """

    def __init__(self) -> None:
        self._find: Callable[[str, frozenset[str]], ShareBounds] = lambda user, groups: NO_BOUNDS
        self._accounts: dict[int, tuple[str, frozenset[str]]] = {}
        self._bounds: dict[int, ShareBounds] = {}

    def use(self, find: Callable[[str, frozenset[str]], ShareBounds]) -> None:
        """From now on, take the bounds of all accounts from `find`, which is given an account's name and its groups."""
        self._find = find
        self._bounds = {uid: find(*account) for uid, account in self._accounts.items()}

    def add(self, uid: int, user: str, groups: frozenset[str]) -> None:
        """Find the bounds of an account that logs in."""
        self._accounts[uid] = user, groups
        self._bounds[uid] = self._find(user, groups)

    def user(self, uid: int) -> str | None:
        """Return the name of an account, None if it has not logged in."""
        account = self._accounts.get(uid)
        return None if account is None else account[0]

    def of(self, uid: int) -> ShareBounds:
        """Return the bounds of an account."""
        return self._bounds.get(uid, NO_BOUNDS)


class Rate(NamedTuple):
    """`number` things in each `seconds`, and as many at once after a pause."""

    number: int
    seconds: float

    def __str__(self) -> str:
        unit = {1.0: "s", 60.0: "min", 3600.0: "h"}.get(self.seconds, f"{self.seconds:g}s")
        return f"{self.number}/{unit}"


class TokenBucket:
    """Allows things at a rate. It begins full."""

    def __init__(self, rate: Rate) -> None:
        self.rate: Final = rate
        self._left = float(rate.number)
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Take one at the time `now`, in seconds of any monotonic clock, and return whether there was one."""
        self._fill(now)
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def wait(self, now: float, after: int = 0) -> float:
        """Return the seconds until there is one, once `after` others were taken."""
        self._fill(now)
        return max(0.0, 1 + after - self._left) * self.rate.seconds / self.rate.number

    def full(self, now: float) -> bool:
        """Return whether nothing was taken for so long that it is like new."""
        self._fill(now)
        return self._left >= self.rate.number

    def _fill(self, now: float) -> None:
        number, seconds = self.rate
        self._left = min(float(number), self._left + (now - self._at) * number / seconds)
        self._at = now


def bound_by_shares(uid: int) -> bool:
    """Return whether an account may have only its part of what all share. Root and the service's own account may use
    everything."""
    return uid not in (0, os.geteuid())


def part_of_room(room: int, has: int) -> int:
    """Return how much more a user may take who has `has`, while there is `room` for all: what a user has may be no more
    than `ALPHA` times what is then still free."""
    return max(0, ALPHA * room - has) // (ALPHA + 1)


def fair_part(total: int, used: int, used_by_user: int) -> int:
    """Return how much of a pool of `total` one user may have, who has `used_by_user` of the `used`.

    A user may take one more while what the user has is less than `ALPHA` times what is free.
    """
    left_by_others = max(0, total - total // RESERVE - (used - used_by_user))
    return -(-ALPHA * left_by_others // (ALPHA + 1))
