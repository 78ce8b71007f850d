"""Tells without a query that an id was never used: one query less for nearly every run.

Before a run is started, its id must be known to be new: neither on record, nor forgotten, nor expired. A UUIDv7 begins
with the time of its creation, and ids are compared as strings, so those that clients create one after another are in
order. `RecentIds` keeps a floor, and all ids above it that the history has ever met. Any other UUIDv7 above the floor
is new. The rest is looked up in the database as ever: an id at or below the floor, one that is known, one of another
UUID version. So a wrong guess about which ids will be asked for costs time, and nothing else.

Why nothing can be started twice by this: an id is called new only if the database would say the same. For that, these
must hold at every moment:

1. Every UUIDv7 above the floor that is on record, or among the forgotten ids, or waiting to be written, is known.
   - At the start, all such ids are read from the database, those of clients with fast clocks included.
   - A start is added before it is written. If it is then refused or lost, its id is known all the same.
   - A record that is deleted leaves its id known. An id is kept as forgotten only when its record is deleted, or when a
     run ends whose record is in a damaged database, and then it is added.
   - If there are too many known ids, the floor rises to the highest of those that are dropped.
   - No other program writes into the database: the service has locked its directory.
2. Every id that has expired is below the floor: the floor rises with the horizon of each owner (`retention`).
3. The floor never falls, and no id is dropped above it.

No clock is part of this. The wall clock is read once, to begin with a floor for which there is little to read. If it is
wrong or is set later, in whatever direction, more ids are known than necessary, or more are looked up; a client whose
clock is wrong has its ids looked up, or known. After a restart, an upgrade or a damaged database it begins again from
what the database then contains. A user who creates thousands of ids in the future pushes the floor up there, until
which everybody's ids are looked up: a twentieth of the cost of a short run.

What is new here is still new only to the database, so the caller asks the active runs first. And the table itself
refuses a second record with the same id, so even then its program would not be started.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable
from typing import Final, Self

from .records import created_at, id_bytes, id_text

MAX_KNOWN_IDS: Final = 8192
"""Ids kept in memory, about 1 MiB. At 1,000 starts a second they reach four to eight seconds back: clients' clocks
differ by less."""

_EVERY_ID: Final = "g"
"""A floor above every id, whose largest digit is f."""

_RECORDED: Final = "SELECT id FROM record WHERE id > ? AND substr(id, 15, 1) = '7' ORDER BY id DESC LIMIT ?"
_FORGOTTEN: Final = "SELECT id FROM forgotten WHERE id > ? AND substr(hex(id), 13, 1) = '7' ORDER BY id DESC LIMIT ?"


class RecentIds:
    """The newest ids of one history. `created` below are seconds since 1970."""

    def __init__(self, created: float, known: Iterable[str] = ()) -> None:
        """Begin with these ids, among which are all that the history has met and that were created after `created`."""
        self._floor = last_id(created)
        self._known = dict.fromkeys(known)
        self._bound()

    @classmethod
    def read(cls, db: sqlite3.Connection, created: float) -> Self:
        """Return the recent ids of a database. Raises sqlite3.Error.

        If more than `MAX_KNOWN_IDS` were created after `created`, only the newest of them are read.
        """
        floor = last_id(created)
        recorded = [id for (id,) in db.execute(_RECORDED, (floor, MAX_KNOWN_IDS + 1))]
        above = id_bytes(floor) if floor != _EVERY_ID else b"\xff" * 17
        forgotten = [id_text(id) for (id,) in db.execute(_FORGOTTEN, (above, MAX_KNOWN_IDS + 1))]
        found = cls(created, (*recorded, *forgotten))
        for ids in (recorded, forgotten):
            if len(ids) > MAX_KNOWN_IDS:
                found._floor = max(found._floor, ids[-1])
        return found

    def is_new(self, id: str) -> bool:
        """Return whether the history has certainly never met this id; if not, it may have."""
        return id > self._floor and id not in self._known and created_at(id) is not None

    def add(self, id: str) -> None:
        """Note an id that is used from now on."""
        if id > self._floor and id[14:15] == "7":
            self._known[id] = None
            if len(self._known) > MAX_KNOWN_IDS:
                self._bound()

    def expire(self, created: float) -> None:
        """Note that ids that were created at or before `created` may have expired."""
        self._floor = max(self._floor, last_id(created))

    def _bound(self) -> None:
        """If there are too many, drop those below the floor, or the lower half."""
        if len(self._known) > MAX_KNOWN_IDS:
            ordered = sorted(self._known)  # they were added nearly in order, so this takes little
            self._floor = max(self._floor, ordered[len(ordered) // 2])
            self._known = dict.fromkeys(id for id in ordered if id > self._floor)


def last_id(created: float) -> str:
    """Return an id that is not below any UUIDv7 created at or before `created`, seconds since 1970."""
    # An id has milliseconds. One more, because the number was converted to seconds and back.
    milliseconds = max(0, math.floor(created * 1000) + 1)
    digits = f"{milliseconds:012x}"
    return _EVERY_ID if len(digits) > 12 else f"{digits[:8]}-{digits[8:]}-7fff-bfff-ffffffffffff"
