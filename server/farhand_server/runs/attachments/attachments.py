"""The attachments of one run, their offsets, and the grace period for clients whose connection is lost."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Literal, NamedTuple, Protocol, Self, TypeAlias

from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Outcome

from ..output.spool import MAX_OFFSET, Spool
from ..plan import RunResult, TerminalSize
from ..snapshots import SnapshotRecord, seconds_left

Output: TypeAlias = Literal["stdout", "stderr"]

MAX_ATTACHMENTS: Final = 256
"""Attachments of one run at once, including absent ones: more clients than ever watch one program, and as many as one
connection may have (`runs.max_runs_per_connection`). Each costs a kilobyte and is examined for every credit."""


MAX_REFUSED_TIME: Final = 600.0
"""Seconds after the loss of a client's connection for which its grace period may begin again because an edge refuses
it. Ten minutes of being attacked are survived, and nobody keeps a run for longer by failing to log in."""


class BadOffset(Exception):
    """An attachment asks for an offset that does not exist. The text says which offsets do."""


class TooManyAttachments(Exception):
    """The run already has as many attachments as it may have. The text gives the number."""


class Watcher(Protocol):
    """Receives notifications of what happens to a run."""

    def started(self) -> None:
        """The program has started."""

    def stdin_taken(self) -> None:
        """The program has read more of its stdin."""

    def exited(self, outcome: Outcome) -> None:
        """The program has ended, but other processes still have its output open."""

    def ended(self, result: RunResult) -> None:
        """The run is over. Its spools have already ended."""

    def failed(self, code: ErrorCode, sentence: str) -> None:
        """The run cannot be started, or has failed because of an error in the service. It has no processes."""

    def replaced(self) -> None:
        """The same client has attached again. This watcher receives no more notifications."""


class ClientIdentity(NamedTuple):
    """Who is attached: the account, the fingerprint of the key that was used, and the address, the last two None for a
    local client."""

    user: str
    key: str | None = None
    address: str | None = None


class AttachmentSnapshot(SnapshotRecord):
    """The state of an `Attachment`. After an upgrade its client is absent, and may be for `left` more seconds."""

    key: bytes
    hold: bool
    taken: dict[Output, int]
    stdin_at: int
    stdin_received: int
    feeds: bool
    left: float | None
    size: tuple[int, int] | None = None


class Attachment:
    """One client's attachment to a run. Without a `watcher` the client is absent, and the attachment is kept until it
    returns.

    `taken` holds, for each stream that the client wants, the offset up to which it has acknowledged output. `stdin_at`
    is the offset of the client's first byte of stdin, and `stdin_received` counts the bytes received; with `feeds` they
    are passed to the program. `window` is the number of bytes of output that may be in transit to the client. `size` is
    the size in which the client shows the run's terminal. With `share` it feeds a terminal together with other clients.
    """

    __slots__ = (
        "_expiry", "absent_since", "caught_up", "feeds", "hold", "key", "share", "size", "stdin_at", "stdin_received",
        "taken", "watcher", "who", "window",
    )  # fmt: skip

    def __init__(self, key: bytes, watcher: Watcher | None, *, hold: bool, taken: dict[Output, int]) -> None:
        self.key = key
        self.watcher = watcher
        self.hold = hold
        self.taken = taken
        self.feeds = False
        self.share = False
        self.absent_since = 0.0
        """When the client's connection was lost, by the loop's clock."""
        self.who: ClientIdentity | None = None
        """Who the client is; None for a client that has been absent since an upgrade."""
        self.caught_up = False
        """Whether the client has come within its window of the end, or has returned. From then on the program waits for
        it."""
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
        """Return the attachment recorded in a snapshot, without its client."""
        attachment = cls(snapshot.key, None, hold=snapshot.hold, taken=snapshot.taken)
        attachment.stdin_at, attachment.stdin_received = snapshot.stdin_at, snapshot.stdin_received
        attachment.feeds = snapshot.feeds
        attachment.size = None if snapshot.size is None else TerminalSize(*snapshot.size)
        return attachment

    def wait_for_return(self, seconds: float, expired: Callable[[Attachment], None]) -> None:
        """Call `expired` after `seconds`, unless the client returns."""
        loop = asyncio.get_running_loop()
        self.watcher = None
        self.absent_since = loop.time()
        self._expiry = loop.call_later(seconds, expired, self)

    def wait_longer(self, until: float, expired: Callable[[Attachment], None]) -> None:
        """Call `expired` no sooner than at `until`, by the loop's clock."""
        if self._expiry is not None and self._expiry.when() < until:
            self._expiry.cancel()
            self._expiry = asyncio.get_running_loop().call_at(until, expired, self)

    def stop_waiting(self) -> None:
        """Stop waiting, because the client has returned or will not return."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None


class Attachments:
    """All attachments of one run. `abandoned` is called when no holder has been connected for `grace` seconds."""

    def __init__(self, spools: Mapping[Output, Spool], grace: float, abandoned: Callable[[], None]) -> None:
        self.bystanders: list[Watcher] = []
        """Watchers that receive notifications without being attached."""
        self.on_deserted: Callable[[], None] | None = None
        """Called when the last client has detached or lost its connection."""
        self.grace = grace
        """Seconds for which the run waits for an absent client. A change applies to clients that become absent
        later."""
        self._spools = spools
        self._abandoned = abandoned
        self._all: dict[bytes, Attachment] = {}
        self._alone: asyncio.TimerHandle | None = None
        self._closed = False

    def __len__(self) -> int:
        """Return the number of connected clients."""
        return sum(attachment.watcher is not None for attachment in self._all.values())

    def snapshot(self) -> tuple[tuple[AttachmentSnapshot, ...], float | None]:
        """Return the state for `restore`: all attachments, and the seconds left until the run counts as abandoned, if
        any."""
        return tuple(attachment.snapshot() for attachment in self._all.values()), seconds_left(self._alone)

    def restore(self, attachments: Iterable[AttachmentSnapshot], alone: float | None) -> None:
        """Continue from a snapshot. Call this only on a new object."""
        for snapshot in attachments:
            attachment = self._all[snapshot.key] = Attachment.restore(snapshot)
            if snapshot.left is not None:
                attachment.wait_for_return(snapshot.left, self._remove)
        if alone is not None:
            self._alone = asyncio.get_running_loop().call_later(alone, self._abandoned)

    def connected(self) -> list[Attachment]:
        """Return the attachments of connected clients, in the order in which they were added."""
        return [attachment for attachment in self._all.values() if attachment.watcher is not None]

    def watchers(self) -> Iterator[Watcher]:
        """Iterate over a copy of all watchers that must now be notified."""
        attached = (attachment.watcher for attachment in self._all.values() if attachment.watcher is not None)
        return iter([*attached, *self.bystanders])

    def get(self, key: bytes) -> Attachment | None:
        """Return the attachment with this key, whether its client is connected or absent."""
        return self._all.get(key)

    @property
    def feeder(self) -> Attachment | None:
        """The attachment whose bytes go to the program's stdin; the first one if several may type."""
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
        """Attach a client, replacing any older attachment with the same `key`.

        `feeds` is the offset of the first byte of stdin that the client will send, None if it will send none. With
        `share` the client may feed the run together with other clients. Raises `TooManyAttachments`, but never for a
        client that replaces an attachment.
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
            self._watch_alone()  # the new attachment may have replaced a holder
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
        """Handle the loss of the client's connection: if the client holds the run, wait for its return."""
        if self._all.get(attachment.key) is attachment:
            if not attachment.hold:
                self._remove(attachment)
            elif self._closed:
                attachment.watcher = None  # the attachment is kept as long as the run
            else:
                attachment.wait_for_return(self.grace, self._remove)
            self._hold()
            self._check_deserted()

    def client_refused(self, is_refused: Callable[[ClientIdentity], bool]) -> None:
        """Let the grace period begin again for absent clients that cannot return because an edge refuses them. It ends
        at the latest `MAX_REFUSED_TIME` after the loss."""
        loop = asyncio.get_running_loop()
        for attachment in self._all.values():
            if attachment.hold and attachment.watcher is None and attachment.who and is_refused(attachment.who):
                until = min(loop.time() + self.grace, attachment.absent_since + MAX_REFUSED_TIME)
                attachment.wait_longer(until, self._remove)
                if self._alone is not None and self._alone.when() < until:
                    self._alone.cancel()
                    self._alone = loop.call_at(until, self._abandoned)

    def left(self, attachment: Attachment) -> None:
        """Remove the attachment of a client that has detached and will not return."""
        if self._all.get(attachment.key) is attachment:
            self._remove(attachment)
            self._check_deserted()

    def close(self) -> None:
        """Handle the end of the run: it can no longer be abandoned, and absent clients may return as long as it is
        kept."""
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
        """Act on an added attachment. `new` is false if it has replaced one with the same key."""

    def _may_feed(self, share: bool, *, fed: bool) -> bool:
        """Return whether a client may feed the program in addition to the others. `fed` tells whether it did so
        before."""
        return self.feeder is None

    def _make_room(self) -> bool:
        """Remove an absent attachment if nothing is lost by that. Return whether one was removed."""
        return False

    def _hold(self) -> None:
        for stream in self._spools:
            self._hold_stream(stream)

    def _hold_stream(self, stream: Output) -> None:
        # Without a holder the spool releases nothing, and its writer waits for the next holder.
        least = None
        for attachment in self._all.values():
            if attachment.hold:
                taken = attachment.taken.get(stream, MAX_OFFSET)
                least = taken if least is None or taken < least else least
        if least is not None:
            self._spools[stream].hold(least)

    def _watch_alone(self) -> None:
        if self._closed or self._alone is not None:
            return
        if not any(a.hold and a.watcher is not None for a in self._all.values()):
            self._alone = asyncio.get_running_loop().call_later(self.grace, self._abandoned)

    def _cancel_alone(self) -> None:
        if self._alone is not None:
            self._alone.cancel()
            self._alone = None
