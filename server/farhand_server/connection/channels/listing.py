"""Lists the runs that a caller may see. Each message is built once the previous one has been sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final, Protocol

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.features import LEFT_PROCESSES
from farhand_protocol.messages.codec import pack_runs
from farhand_server.runs.attachments.attachments import Attachment, ClientIdentity
from farhand_server.runs.left import LeftRuns
from farhand_server.runs.registry import RecordUnavailable
from farhand_server.runs.run import AnyRun, LiveRun

from .handler import MAX_ANSWER_SIZE, ChannelOutlet, QueryChannel

LIST_STEP: Final = 16
"""Runs that are looked at between two looks at the clock: 0.7 ms. So a list takes no more of a turn of the loop than
anything else does, and others go on."""


class RunLookup(Protocol):
    """The part of the registry that looks runs up."""

    def __iter__(self) -> Iterator[LiveRun]:
        """Iterate over the active runs, newest first."""

    @property
    def left(self) -> LeftRuns:
        """The runs that have ended but have left processes running."""

    def recent(
        self, owner: str | None, *, before: str | None, prefix: str, limit: int
    ) -> tuple[list[AnyRun], str | None]:
        """Return up to `limit` runs, active or ended, newest first; and what `before` is for those that follow. Raises
        `RecordUnavailable`."""


class ListChannel(QueryChannel):
    """Answers a `list`. `sees` tells whether the caller may see a run. If `owner` is not None, all visible runs are
    this owner's.

    Between two messages it keeps only its position, so an unread list costs little. At once it looks at no more than
    `LIST_STEP` runs, however many of them the caller may not see.
    """

    def __init__(
        self,
        outlet: ChannelOutlet,
        number: int,
        request: m.List,
        registry: RunLookup,
        *,
        after: AnyRun | None,
        owner: str | None,
        sees: Callable[[AnyRun], bool],
    ) -> None:
        super().__init__(outlet, number)
        self._request = request
        self._registry = registry
        self._after = after
        """The run after which the list of the active runs goes on."""
        self._before = None if after is None else after.id
        """Where the list of all runs goes on."""
        self._owner = owner
        self._sees = sees
        self._left = request.limit
        self._knows_left = LEFT_PROCESSES in outlet.connection.peer_features

    def begin(self) -> None:
        self._outlet.schedule(self)

    def send_some(self) -> bool:
        if self._over:
            return False
        try:
            page, more = self._page()
        except RecordUnavailable as error:
            self.answer(m.Error(code=ErrorCode.UNAVAILABLE, message=str(error)))
            return False
        seen = [run for run in page if self._sees(run)][: self._left]
        told = self._tell(seen)
        self._left -= told
        whole = told == len(seen)
        if self._left == 0 or (whole and more is None):
            self.answer(m.Done())
            return False
        if not whole:
            more = seen[told - 1].id
        self._before = more
        self._after = next((run for run in page if run.id == more), None)
        if not told:
            # Nothing was sent, so the session would give this channel turn after turn and hold up all other
            # connections.
            asyncio.get_running_loop().call_soon(self._go_on)
        return bool(told)

    def _go_on(self) -> None:
        if not self._over and not self.scheduled:
            self._outlet.schedule(self)

    def _page(self) -> tuple[Sequence[AnyRun], str | None]:
        """Return the next `LIST_STEP` runs or fewer, and the id of the last run that was looked at, None at the end."""
        prefix = self._request.prefix
        if self._request.ended:
            return self._registry.recent(self._owner, before=self._before, prefix=prefix, limit=LIST_STEP)
        found = list(islice((run for run in self._current() if run.id.startswith(prefix)), LIST_STEP))
        return found, found[-1].id if len(found) == LIST_STEP else None

    def _current(self) -> list[AnyRun]:
        """Return the runs that are listed without those that have ended, from the position on."""
        active = (run for run in self._registry if run.result is None)
        left = tuple(self._registry.left) if self._knows_left else ()
        runs: list[AnyRun] = [*active, *left]
        if left:
            runs.sort(key=lambda run: run.began, reverse=True)
        if self._after is None:
            return runs
        ids = [run.id for run in runs]
        if self._after.id in ids:
            return runs[ids.index(self._after.id) + 1 :]
        return [run for run in runs if run.began < self._after.began]  # the run `after` has ended meanwhile

    def _tell(self, runs: Sequence[AnyRun]) -> int:
        """Send as many of the runs as fit into one message, and return their number."""
        connection = self._outlet.connection
        assert connection.peer_limits is not None
        for message in pack_runs(map(self._info, runs), min(connection.peer_limits.message, MAX_ANSWER_SIZE)):
            connection.send(self.number, message)
            return len(message.runs)
        return 0

    def _info(self, run: AnyRun) -> m.RunInfo:
        return info(run, self._registry.left)


def info(run: AnyRun, left: LeftRuns) -> m.RunInfo:
    """Return a run's entry in a listing. `left` knows the processes that runs have left running."""
    result = run.result
    live = run if isinstance(run, LiveRun) else None
    under_way = live if result is None else None
    return m.RunInfo(
        id=run.id,
        owner=run.owner,
        command=run.command.encode(errors="replace").decode()[: m.MAX_COMMAND_TEXT],
        began=run.began,
        duration=run.duration,
        stdout=run.spool("stdout").end,
        stderr=run.spool("stderr").end,
        stdin=under_way.stdin.received if under_way is not None and under_way.plan.stdin else None,
        pid=None if under_way is None else under_way.pid,
        attachments=0 if live is None else len(live.attachments),
        on_disconnect="keep" if run.keep else "kill",
        outcome=None if result is None else result.outcome,
        terminal=_size(run) if run.has_terminal else None,
        login=run.login,
        tty=None if under_way is None else under_way.tty,
        clients=() if live is None else tuple(map(_client, live.attachments.connected()[: m.MAX_CLIENTS])),
        internal=run.internal,
        transfer=run.transfer,
        forward=run.forward,
        left_processes=None if result is None else left.describe(run.id, result.left_processes),
    )


def _client(attachment: Attachment) -> m.ClientInfo:
    who = attachment.who or ClientIdentity("")
    return m.ClientInfo(user=who.user[: m.MAX_CLIENT_USER], key=who.key, address=who.address, types=attachment.feeds)


def _size(run: AnyRun) -> m.WindowSize:
    # The history does not record the size, so a past run's is unknown.
    columns, rows = (run.timeline.size if isinstance(run, LiveRun) else None) or (0, 0)
    return m.WindowSize(columns=columns, rows=rows)
