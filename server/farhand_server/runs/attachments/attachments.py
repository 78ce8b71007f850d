"""The attachments of one run, with their offsets, and the grace period of those whose connection is lost."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Literal, Protocol, Self, TypeAlias

from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Outcome

from ..output.spool import MAX_OFFSET, Spool
from ..plan import RunResult, TerminalSize
from ..snapshots import SnapshotRecord, seconds_left

Output: TypeAlias = Literal["stdout", "stderr"]

MAX_ATTACHMENTS: Final = 256
"""Attachments of one run at once, including absent ones: more than watch one program, and as many as one connection may
have (`runs.max_runs_per_connection`). Each costs a kilobyte, and is looked at for every credit."""


class BadOffset(Exception):
    """An attachment wants to begin at an offset that does not exist; the text says which do."""


class TooManyAttachments(Exception):
    """The run has as many attachments as it may have; the text gives the number."""


class Watcher(Protocol):
    """Is notified of what happens to a run."""

    def started(self) -> None:
        """The program runs."""

    def stdin_taken(self) -> None:
        """The program has read more of its stdin."""

    def exited(self, outcome: Outcome) -> None:
        """The program has ended, and other processes still have its output open."""

    def ended(self, result: RunResult) -> None:
        """The run is over; its spools have ended before."""

    def failed(self, code: ErrorCode, sentence: str) -> None:
        """The service has failed the run, or cannot start it; it has no processes."""

    def replaced(self) -> None:
        """The same client has attached again: this watcher is not notified any more."""


class AttachmentSnapshot(SnapshotRecord):
    """The state of an `Attachment`, whose client is absent after an upgrade, for `left` more seconds."""

    key: bytes
    hold: bool
    taken: dict[Output, int]
    stdin_at: int
    stdin_received: int
    feeds: bool
    left: float | None
    size: tuple[int, int] | None = None


class Attachment:
    """One client's place in a run. Without a `watcher` the client is absent, and its place is kept for its return.

    `taken` are the offsets up to which the client has acknowledged each stream that it wants. `stdin_at` is the offset
    of its first byte of stdin, and `stdin_received` counts the bytes that came; with `feeds` they go to the program.
    `window` is the number of bytes of output that may be in transit to the client. `size` is how large it shows the
    run's terminal. With `share` it feeds a terminal together with others.
    """

    __slots__ = (
        "_expiry", "caught_up", "feeds", "hold", "key", "share", "size", "stdin_at", "stdin_received", "taken",
        "watcher", "window",
    )  # fmt: skip

    def __init__(self, key: bytes, watcher: Watcher | None, *, hold: bool, taken: dict[Output, int]) -> None:
        self.key = key
        self.watcher = watcher
        self.hold = hold
        self.taken = taken
        self.feeds = False
        self.share = False
        self.caught_up = False
        """Whether it has been within its window of the end, or has returned: from then on the program waits for it."""
        self.size: TerminalSize | None = None
        self.window = MAX_OFFSET
        self.stdin_at = 0
        self.stdin_received = 0
        self._expiry: asyncio.TimerHandle | None = None

    def snapshot(self) -> AttachmentSnapshot:
        """Return the state for `restore`."""
        return AttachmentSnapshot(
            key=self.key,
            hold=self.hold,
            taken=self.taken,
            stdin_at=self.stdin_at,
            stdin_received=self.stdin_received,
            feeds=self.feeds,
            size=self.size,
            left=seconds_left(self._expiry),
        )

    @classmethod
    def restore(cls, snapshot: AttachmentSnapshot) -> Self:
        """Return the attachment of a snapshot, without its client."""
        attachment = cls(snapshot.key, None, hold=snapshot.hold, taken=snapshot.taken)
        attachment.stdin_at, attachment.stdin_received = snapshot.stdin_at, snapshot.stdin_received
        attachment.feeds = snapshot.feeds
        attachment.size = None if snapshot.size is None else TerminalSize(*snapshot.size)
        return attachment

    def wait_for_return(self, seconds: float, expired: Callable[[Attachment], None]) -> None:
        """Call `expired` after `seconds`, unless the client returns."""
        self.watcher = None
        self._expiry = asyncio.get_running_loop().call_later(seconds, expired, self)

    def stop_waiting(self) -> None:
        """Stop waiting: the client has returned, or will not."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None


class Attachments:
    """All attachments of one run. `abandoned` is called when no holder has been connected for `grace` seconds."""

    def __init__(self, spools: Mapping[Output, Spool], grace: float, abandoned: Callable[[], None]) -> None:
        self.bystanders: list[Watcher] = []
        """Watchers that are notified without being attached."""
        self.on_deserted: Callable[[], None] | None = None
        """Called when the last client has detached or lost its connection."""
        self.grace = grace
        """Seconds that an absent client is waited for; a change counts for those that become absent later."""
        self._spools = spools
        self._abandoned = abandoned
        self._all: dict[bytes, Attachment] = {}
        self._alone: asyncio.TimerHandle | None = None
        self._closed = False

    def __len__(self) -> int:
        """Return the number of connected clients."""
        return sum(attachment.watcher is not None for attachment in self._all.values())

    def snapshot(self) -> tuple[tuple[AttachmentSnapshot, ...], float | None]:
        """Return the state for `restore`: all attachments, and the seconds left until the run counts as abandoned."""
        return tuple(attachment.snapshot() for attachment in self._all.values()), seconds_left(self._alone)

    def restore(self, attachments: Iterable[AttachmentSnapshot], alone: float | None) -> None:
        """Continue from a snapshot; only on a new object."""
        for snapshot in attachments:
            attachment = self._all[snapshot.key] = Attachment.restore(snapshot)
            if snapshot.left is not None:
                attachment.wait_for_return(snapshot.left, self._remove)
        if alone is not None:
            self._alone = asyncio.get_running_loop().call_later(alone, self._abandoned)

    def watchers(self) -> Iterator[Watcher]:
        """Iterate over a copy of all that are to be notified now."""
        attached = (attachment.watcher for attachment in self._all.values() if attachment.watcher is not None)
        return iter([*attached, *self.bystanders])

    def get(self, key: bytes) -> Attachment | None:
        """Return the attachment with this key, whether its client is connected or absent."""
        return self._all.get(key)

    @property
    def feeder(self) -> Attachment | None:
        """The attachment whose bytes go to the program's stdin; the first of them, if several may type."""
        return next((attachment for attachment in self._all.values() if attachment.feeds), None)

    @property
    def held(self) -> bool:
        """Whether the run has a holder, connected or absent."""
        return any(attachment.hold for attachment in self._all.values())

    def add(
        self,
        watcher: Watcher,
        *,
        key: bytes | None,
        hold: bool,
        taken: Mapping[Output, int],
        feeds: int | None,
        share: bool = False,
        size: TerminalSize | None = None,
        window: int = MAX_OFFSET,
    ) -> Attachment:
        """Attach a client, in the place of an older attachment with the same `key` if there is one.

        `feeds` is the offset of the first byte of stdin that will come, None if none will. With `share` the client may
        feed together with another. Raises `TooManyAttachments`, but never for a client that replaces an attachment.
        """
        if key not in self._all and len(self._all) >= MAX_ATTACHMENTS and not self._make_room():
            raise TooManyAttachments(f"{MAX_ATTACHMENTS} clients are attached to this run, the most that it accepts")
        key = key or os.urandom(16)
        old = self._all.pop(key, None)
        fed = old is not None and old.feeds
        if old is not None:
            old.stop_waiting()
            if old.watcher is not None:
                old.watcher.replaced()
            old.feeds = False
        attachment = Attachment(key, watcher, hold=hold, taken=dict(taken))
        attachment.size, attachment.window, attachment.share = size, window, share
        attachment.caught_up = old is not None
        if feeds is not None:
            attachment.stdin_at = feeds
            attachment.feeds = self._may_feed(share, fed=fed)
        self._all[key] = attachment
        if hold:
            self._cancel_alone()
        else:
            self._watch_alone()  # it may have replaced a holder
        self._hold()
        self._added(attachment, new=old is None)
        return attachment

    def took(self, attachment: Attachment, stream: Output, count: int) -> None:
        """Record that the client has acknowledged `count` more bytes."""
        if stream in attachment.taken:
            attachment.taken[stream] += count
            if attachment.hold:
                self._hold_stream(stream)

    def lost(self, attachment: Attachment) -> None:
        """The client's connection is lost: wait for its return if it holds the run."""
        if self._all.get(attachment.key) is attachment:
            if not attachment.hold:
                self._remove(attachment)
            elif self._closed:
                attachment.watcher = None  # its place is kept as long as the run is
            else:
                attachment.wait_for_return(self.grace, self._remove)
            self._hold()
            self._check_deserted()

    def left(self, attachment: Attachment) -> None:
        """The client has detached and will not return."""
        if self._all.get(attachment.key) is attachment:
            self._remove(attachment)
            self._check_deserted()

    def close(self) -> None:
        """The run is over: it is never abandoned any more, and absent clients may return as long as it is kept."""
        self._closed = True
        self._cancel_alone()
        for attachment in self._all.values():
            attachment.stop_waiting()

    def _remove(self, attachment: Attachment) -> None:
        attachment.stop_waiting()
        attachment.watcher = None
        self._all.pop(attachment.key, None)
        attachment.feeds = False
        self._hold()

    def _check_deserted(self) -> None:
        self._watch_alone()
        if not self and self.on_deserted is not None:
            self.on_deserted()

    def _added(self, attachment: Attachment, *, new: bool) -> None:
        """Act on an attachment that was added; `new` is false if it has replaced one with its key."""

    def _may_feed(self, share: bool, *, fed: bool) -> bool:
        """Return whether a client may feed the program besides the others; `fed` is whether it did before."""
        return self.feeder is None

    def _make_room(self) -> bool:
        """Remove an absent attachment, if that loses nothing; return whether one was removed."""
        return False

    def _hold(self) -> None:
        for stream in self._spools:
            self._hold_stream(stream)

    def _hold_stream(self, stream: Output) -> None:
        # Without a holder the spool keeps what it has: its writer waits for the next holder.
        offsets = [a.taken.get(stream, MAX_OFFSET) for a in self._all.values() if a.hold]
        if offsets:
            self._spools[stream].hold(min(offsets))

    def _watch_alone(self) -> None:
        if self._closed or self._alone is not None:
            return
        if not any(a.hold and a.watcher is not None for a in self._all.values()):
            self._alone = asyncio.get_running_loop().call_later(self.grace, self._abandoned)

    def _cancel_alone(self) -> None:
        if self._alone is not None:
            self._alone.cancel()
            self._alone = None
