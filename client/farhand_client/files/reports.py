"""What the threads of a transfer report: events for whoever follows it, and the totals of all of its attempts."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from farhand_client.transferred import Transferred
from farhand_files.events import Begun, Event, Finished, Moved, Removed, Skipped, Totals, Trouble
from farhand_files.names import entry_path
from farhand_files.rows import Happened, RowEvents

MAX_QUEUED_EVENTS: Final = 4096
"""Events that wait for a reader; then the transfer waits, too. About 1 MiB, and a second of many small files."""

MAX_REPORTED_DIGESTS: Final = 10_000
"""Files whose digests are kept for the result: some 2 MiB. A program that needs more follows the events."""

MAX_REPORTED_ERRORS: Final = 100
"""Errors that are kept for the result: more than a person reads. A program that needs more follows the events."""


class _Unfinished(NamedTuple):
    """A file that is being transferred: the bytes of it that the receiver had, and those that were sent since."""

    kept: int
    sent: int


class Reports:
    """The events of one transfer. `call` schedules a function in the event loop, in which `deliver` is then called."""

    def __init__(self, call: Callable[[Callable[[], None]], object], deliver: Callable[[], None]) -> None:
        self._call = call
        self._deliver = deliver
        self._changed = threading.Condition(threading.Lock())
        self._queue: deque[Event] = deque()
        self._called = False
        self._following = False
        self._kinds: Collection[type[Event]] | None = None
        self._digests: dict[bytes, str] = {}
        self._sha256: dict[bytes, str] = {}
        self._before = Transferred()  # what the earlier attempts have done
        self._interrupted: dict[bytes, _Unfinished] = {}  # what they had begun, and no later one has
        self._sent_before = 0  # bytes of files that they had begun and have not put in place
        self._kept_again = 0  # those of them that were kept
        self._begin_attempt()

    def _begin_attempt(self) -> None:
        self._files = self._bytes = self._sent = self._kept = self._skipped = self._deleted = 0
        self._unfinished: dict[bytes, _Unfinished] = {}
        self._errors: list[Trouble] = []
        self._more_errors = 0
        self._progressed = False

    # For threads

    def report(self, happened: Happened) -> None:
        """Count what has happened, and queue the events of it if anybody follows. Waits while the queue is full."""
        if not isinstance(happened, RowEvents):
            self._report(happened)
            return
        with self._changed:
            if happened.kind is Skipped:
                self._skipped += len(happened)
            if not self._is_followed(happened.kind):
                return
        for event in happened.each():
            self._queue_up(event)

    def _is_followed(self, kind: type[Event]) -> bool:
        return self._following and (self._kinds is None or kind in self._kinds)

    def _report(self, event: Event) -> None:
        with self._changed:
            self._count(event)
            if not self._is_followed(type(event)):
                return
            if isinstance(event, Moved) and self._queue:
                last = self._queue[-1]
                if isinstance(last, Moved) and last.path == event.path:
                    self._queue[-1] = event
                    return
        self._queue_up(event)

    def _queue_up(self, event: Event) -> None:
        with self._changed:
            while len(self._queue) >= MAX_QUEUED_EVENTS and self._following:
                self._changed.wait()
            if not self._following:
                return
            self._queue.append(event)
            if self._called:
                return
            self._called = True
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._call(self._delivering)

    def _count(self, event: Event) -> None:
        match event:
            case Begun():
                self._unfinished[event.path] = _Unfinished(event.kept, 0)
                if (before := self._interrupted.pop(event.path, None)) is not None:
                    # More has arrived than was reported: `Moved` comes 20 times a second.
                    arrived = max(0, event.kept - before.kept)
                    self._kept_again += arrived
                    self._sent_before += max(0, arrived - before.sent)
            case Moved():
                self._progressed = self._progressed or event.sent > 0
                begun = self._unfinished.get(event.path)
                self._unfinished[event.path] = _Unfinished(0 if begun is None else begun.kept, event.sent)
            case Finished():
                self._progressed = True
                self._unfinished.pop(event.path, None)
                self._files += 1
                self._bytes += event.size
                self._sent += event.sent
                self._kept += event.kept
                if len(self._digests) < MAX_REPORTED_DIGESTS:
                    self._digests[event.path] = event.blake3.hex()
                    if event.sha256:
                        self._sha256[event.path] = event.sha256.hex()
            case Skipped():
                self._skipped += 1
            case Removed():
                self._deleted += 1
            case Trouble(errno=0):
                pass  # nothing has failed
            case Trouble():
                path = entry_path(event.path, self._unfinished)
                self._sent += 0 if path is None else self._unfinished.pop(path).sent
                if len(self._errors) < MAX_REPORTED_ERRORS:
                    self._errors.append(event)
                else:
                    self._more_errors += 1

    # For the event loop

    def follow(self, *, on: bool, kinds: Collection[type[Event]] | None = None) -> None:
        """Queue events, of these kinds if they are given, from now on, or no longer; what is queued is thrown away
        then."""
        with self._changed:
            self._following = on
            self._kinds = kinds
            if not on:
                self._queue.clear()
            self._changed.notify_all()

    def release(self) -> None:
        """Let no thread wait any longer, and queue nothing more."""
        with self._changed:
            self._following = False
            self._changed.notify_all()

    def take(self) -> Event | None:
        """Return the next event, if there is one."""
        with self._changed:
            if not self._queue:
                return None
            if len(self._queue) == MAX_QUEUED_EVENTS:
                self._changed.notify_all()
            return self._queue.popleft()

    def _delivering(self) -> None:
        with self._changed:
            self._called = False
        self._deliver()

    def attempt_failed(self, unsent: int = 0) -> bool:
        """Note that this attempt is over and another one may follow; return whether it has done anything.

        `unsent` bytes of what was reported as sent were not. They include the headers of frames; what the next attempt
        says about the bytes that have arrived corrects that.
        """
        with self._changed:
            before = self._before
            for path, each in reversed(self._unfinished.items()):
                sent = max(0, each.sent - unsent)
                unsent -= each.sent - sent
                self._interrupted[path] = each._replace(sent=sent)
                self._sent_before += sent
            self._before = Transferred(
                files=before.files + self._files,
                bytes=before.bytes + self._bytes,
                sent=before.sent + self._sent,
                kept=before.kept + self._kept,
                deleted=before.deleted + self._deleted,
            )
            progressed = self._progressed
            self._begin_attempt()
            return progressed

    def result(self, totals: Totals | None, seconds: float) -> Transferred:
        """Return what all attempts have done; `totals` are those of the last one, None if it has come to no end.

        What an earlier attempt has put in place, the last one has skipped; it counts once, as transferred. What it has
        sent of other files, the last one has kept; that counts as sent.
        """
        with self._changed:
            before = self._before
            now = self._so_far() if totals is None else totals
            again = before.files if totals is None else min(before.files, now.skipped)
            return Transferred(
                files=now.files + again,
                bytes=now.bytes + (before.bytes * again // before.files if again else 0),
                sent=now.sent + before.sent + self._sent_before,
                kept=before.kept + max(0, now.kept - self._kept_again),
                skipped=max(0, now.skipped - again),
                others=now.others,
                deleted=now.deleted + before.deleted,
                failed=now.failed,
                digests=dict(self._digests),
                sha256=dict(self._sha256),
                seconds=seconds,
                errors=tuple(self._errors),
                more_errors=self._more_errors,
            )

    def _so_far(self) -> Totals:
        totals = Totals()
        totals.files, totals.bytes, totals.kept, totals.deleted = self._files, self._bytes, self._kept, self._deleted
        totals.sent = self._sent + sum(each.sent for each in self._unfinished.values())
        totals.skipped, totals.failed = self._skipped, len(self._errors) + self._more_errors
        return totals
