"""Who is attached to a run: who holds it, how far each has its output, and how long a lost one is waited for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Outcome

from ..output.spool import MAX_OFFSET, Spool
from ..plan import TerminalSize

if TYPE_CHECKING:
    from ..plan import RunResult

Output: TypeAlias = Literal["stdout", "stderr"]

MAX_ATTACHMENTS: Final = 256
"""Of one run at once, with those whose clients are waited for: more than watch one program, and as many as one
connection may have (`runs.max_runs_per_connection`). Each costs a kilobyte, and a look with every credit."""


class BadOffset(Exception):
    """An attachment wants to begin where there is nothing; the text says where there is."""


class TooManyAttachments(Exception):
    """As many clients are attached to the run, or waited for, as it takes; the text gives the number."""


class Watcher(Protocol):
    """Who is told how a run goes."""

    def started(self) -> None:
        """The program runs."""

    def stdin_taken(self) -> None:
        """The program's stdin has taken more."""

    def exited(self, outcome: Outcome) -> None:
        """The program has ended; others still hold its output."""

    def ended(self, result: RunResult) -> None:
        """The run is over; its spools have ended before."""

    def failed(self, code: ErrorCode, sentence: str) -> None:
        """The service has failed the run, or cannot start it; it has no processes."""

    def replaced(self) -> None:
        """The same client has attached anew: nothing more is told here."""


class Attachment:
    """One client's place in a run. Without a `watcher` its line is lost, and the place is kept for its return.

    `taken` are the offsets up to which the client has acknowledged each stream that it wants; `stdin_at` is that of its
    first byte of stdin, `stdin_received` counts those that came. With `feeds` they go to the program. `window` is how
    many bytes of output may be on their way to the client, `size` how large it shows the run's terminal. With `share`
    it feeds a terminal beside others.
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
        """Whether it has been within its window of the end, or has come back: it is not left behind again."""
        self.size: TerminalSize | None = None
        self.window = MAX_OFFSET
        self.stdin_at = 0
        self.stdin_received = 0
        self._expiry: asyncio.TimerHandle | None = None

    def wait_for_return(self, seconds: float, over: Callable[[Attachment], None]) -> None:
        """Call `over` after `seconds`, unless the client comes back."""
        self.watcher = None
        self._expiry = asyncio.get_running_loop().call_later(seconds, over, self)

    def stop_waiting(self) -> None:
        """The client is back, or gone for good."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None


class Attachments:
    """All attachments of one run. `abandoned` is called when nobody has held it for `grace` seconds."""

    def __init__(self, spools: Mapping[Output, Spool], grace: float, abandoned: Callable[[], None]) -> None:
        self.bystanders: list[Watcher] = []
        """Who is told how the run goes without being attached to it."""
        self.on_deserted: Callable[[], None] | None = None
        """Told when the last client has gone or lost its line."""
        self._spools = spools
        self._grace = grace
        self._abandoned = abandoned
        self._all: dict[bytes, Attachment] = {}
        self._alone: asyncio.TimerHandle | None = None
        self._closed = False

    def __len__(self) -> int:
        return sum(attachment.watcher is not None for attachment in self._all.values())

    def watchers(self) -> Iterator[Watcher]:
        """Give everybody who is to be told something, at this moment."""
        attached = (attachment.watcher for attachment in self._all.values() if attachment.watcher is not None)
        return iter([*attached, *self.bystanders])

    def get(self, key: bytes) -> Attachment | None:
        """The attachment with this key, whether its client is connected or waited for."""
        return self._all.get(key)

    @property
    def feeder(self) -> Attachment | None:
        """Whose bytes go to the program's stdin; where several may type, the first of them."""
        return next((attachment for attachment in self._all.values() if attachment.feeds), None)

    @property
    def held(self) -> bool:
        """Whether anybody holds the run, or is waited for who does."""
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
        """Attach; in the place of an older attachment with the same `key`, if there is one.

        `feeds` is the offset of the first byte of stdin that will come, None where none will; with `share` it may come
        beside another's. Raises `TooManyAttachments`; whoever takes an older one's place is never one too many.
        """
        if key not in self._all and len(self._all) >= MAX_ATTACHMENTS and not self._make_room():
            raise TooManyAttachments(
                f"{MAX_ATTACHMENTS} clients are attached to this run or waited for; it takes no more"
            )
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
            self._watch_alone()  # it may have taken a holder's place
        self._hold()
        self._added(attachment, new=old is None)
        return attachment

    def took(self, attachment: Attachment, stream: Output, count: int) -> None:
        """The client has acknowledged `count` bytes more."""
        if stream in attachment.taken:
            attachment.taken[stream] += count
            if attachment.hold:
                self._hold_stream(stream)

    def lost(self, attachment: Attachment) -> None:
        """The client's line is gone; it may come back."""
        if self._all.get(attachment.key) is attachment:
            if not attachment.hold:
                self._gone(attachment)
            elif self._closed:
                attachment.watcher = None  # what it has not got stays for as long as the run is kept
            else:
                attachment.wait_for_return(self._grace, self._gone)
            self._hold()
            self._one_less()

    def left(self, attachment: Attachment) -> None:
        """The client has said that it goes."""
        if self._all.get(attachment.key) is attachment:
            self._gone(attachment)
            self._one_less()

    def close(self) -> None:
        """The run is over: it need not be stopped for want of a holder, and one whose line is lost may come back for as
        long as it is kept."""
        self._closed = True
        self._cancel_alone()
        for attachment in self._all.values():
            attachment.stop_waiting()

    def _gone(self, attachment: Attachment) -> None:
        attachment.stop_waiting()
        attachment.watcher = None
        self._all.pop(attachment.key, None)
        attachment.feeds = False
        self._hold()

    def _one_less(self) -> None:
        self._watch_alone()
        if not self and self.on_deserted is not None:
            self.on_deserted()

    def _added(self, attachment: Attachment, *, new: bool) -> None:
        """Somebody has come; `new` is false where it has taken its own older place."""

    def _may_feed(self, share: bool, *, fed: bool) -> bool:
        """Whether somebody may feed the program beside all who are there; `fed` is whether it did before."""
        return self.feeder is None

    def _make_room(self) -> bool:
        """Forget somebody whose line is lost, where that loses nothing; False where there is nobody."""
        return False

    def _hold(self) -> None:
        for stream in self._spools:
            self._hold_stream(stream)

    def _hold_stream(self, stream: Output) -> None:
        # Without a holder the spool stays as it is: its writer waits for the next one.
        offsets = [a.taken.get(stream, MAX_OFFSET) for a in self._all.values() if a.hold]
        if offsets:
            self._spools[stream].hold(min(offsets))

    def _watch_alone(self) -> None:
        if self._closed or self._alone is not None:
            return
        if not any(a.hold and a.watcher is not None for a in self._all.values()):
            self._alone = asyncio.get_running_loop().call_later(self._grace, self._abandoned)

    def _cancel_alone(self) -> None:
        if self._alone is not None:
            self._alone.cancel()
            self._alone = None
