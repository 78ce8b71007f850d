"""Completion by the remote machine, for prompt_toolkit: never in the way of typing.

Names that were asked for a moment ago: what is typed on narrows them, and nobody is asked again. No I/O.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from farhand_client.errors import FarhandError
from farhand_client.ui.text import printable, truncate
from farhand_protocol.limits import KiB

from .commands import TABLE, Asked, asked
from .completion import MAX_NAMES, Question, arguments, question
from .lines import decode, encode

if TYPE_CHECKING:
    from .hosts import Host, Hosts


DEADLINE: Final = 3.0
"""Seconds after which nobody waits for a completion any more, here nor there."""

MAX_ANSWER: Final = 256 * KiB
"""Bytes of names: twice what 500 names can have (NAME_MAX is 255)."""

META: Final = 60
"""Columns of what is said beside a completion."""


class RemoteCompleter(Completer):
    """Asks the first of the active hosts, over the connection that is there; without one there are no completions."""

    def __init__(self) -> None:
        self.hosts: Hosts | None = None
        """Whom to ask, once that is known."""
        self._cache = Cache()
        self._task: asyncio.Task[list[Completion]] | None = None

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Completer. There are none without waiting."""
        return ()

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        """Completer."""
        self.cancel()
        if self.hosts is None:
            return
        task = self._task = asyncio.ensure_future(_all(self._completions(document.text_before_cursor, self.hosts)))
        try:
            await asyncio.wait([task], timeout=DEADLINE)
        finally:
            # It is not waited for: stopping it takes a round trip.
            task.cancel()
        if task.done() and not task.cancelled():
            with contextlib.suppress(FarhandError, ValueError):
                for completion in task.result():
                    yield completion

    def cancel(self) -> None:
        """Take back what is being asked."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def forget(self) -> None:
        """A line is run: what is known may be so no more."""
        self.cancel()
        self._cache.clear()

    async def _completions(self, before: str, hosts: Hosts) -> AsyncIterator[Completion]:
        own = asked(before)
        host = hosts.active[0]
        if own is None:
            wanted = question(before)
        elif own.kind == "directories":
            wanted = question(f"cd {own.rest}")
        else:
            for text, meta in await self._own(own, hosts):
                if text.startswith(own.begin):
                    yield Completion(text, -len(own.begin), display_meta=truncate(printable(meta), META))
            return
        if wanted is not None:
            for answer in wanted.answers(await self._ask(wanted, host)):
                yield Completion(answer.text, -wanted.typed, display=printable(answer.shown))

    async def _own(self, own: Asked, hosts: Hosts) -> list[tuple[str, str]]:
        """Return what there is of a kind, and what is said beside each."""
        match own.kind:
            case "commands":
                return [(name, command.summary) for name, command in TABLE.items()]
            case "hosts":
                sign = own.begin[:1] if own.begin[:1] in ("+", "-") else ""
                names = dict.fromkeys(hosts.known) if sign == "-" else dict.fromkeys([*hosts.known, *_configured()])
                return [(sign + name, "") for name in names]
            case "runs":
                return [run for host in hosts.active for run in await self._runs(host)]
            case "variables":
                known = {decode(name) for host in hosts.active for name in host.state.variables}
                return [(f"-{name}", "") for name in sorted(known)] + [(f"{name}=", "") for name in sorted(known)]
        return []

    async def _runs(self, host: Host) -> list[tuple[str, str]]:
        own = [(job.name, job.text) for job in host.jobs.going]
        client = host.link.client
        if client is None:
            return own
        others = [run for run in await client.runs() if run.owner == client.user and run.on_disconnect == "keep"]
        return own + [
            (host.jobs.name(run.id), run.command)
            for run in others
            if not any(run.id.startswith(name) for name, _ in own)
        ]

    async def _ask(self, wanted: Question, host: Host) -> bytes:
        loop = asyncio.get_running_loop()
        key = (host.name, wanted.kind, wanted.directory)
        known = self._cache.get(key, wanted.begin, loop.time())
        client = host.link.client
        if known is not None or client is None:
            return known or b""
        from farhand_client.results import CommandTimeout

        argv = [encode(argument) for argument in arguments(wanted)]
        try:
            done = await client.run(
                argv,
                cwd=host.state.directory,
                env=host.state.environment,
                timeout=DEADLINE,
                kill_after=0,
                max_output=MAX_ANSWER,
            )
        except CommandTimeout as error:
            return bytes(error.completed.stdout)
        printed = bytes(done.stdout)
        whole = not done.truncated and printed.count(b"\0") < MAX_NAMES
        self._cache.put(key, wanted.begin, printed, loop.time(), whole=whole)
        return printed


def _configured() -> Iterable[str]:
    """Return the names in config.toml."""
    from farhand_client.config import config_directory, load_hosts

    path = config_directory() / "config.toml"
    return load_hosts(path) if path.exists() else ()


async def _all(completions: AsyncIterator[Completion]) -> list[Completion]:
    return [completion async for completion in completions]


LIFETIME: Final = 5.0
"""Seconds: as long as somebody takes to type a word. What a line changes is seen at once: it empties the cache."""

MOST: Final = 16
"""Answers that are kept, of 256 KiB at the most each."""

Key: TypeAlias = tuple[str, ...]
"""Of whom was asked, for what, where."""


class _Answer(NamedTuple):
    begin: bytes
    entries: tuple[bytes, ...]
    whole: bool
    until: float


class Cache:
    """Keeps what was printed: entries that end in NUL, of a kind's character and a name. Times are in seconds."""

    def __init__(self) -> None:
        self._answers: dict[Key, _Answer] = {}

    def put(self, key: Key, begin: str, printed: bytes, now: float, *, whole: bool) -> None:
        """Remember the names that begin with `begin`; without `whole` there are more than those."""
        self._answers.pop(key, None)
        while len(self._answers) >= MOST:
            del self._answers[next(iter(self._answers))]
        entries = tuple(printed.split(b"\0")[:-1])
        self._answers[key] = _Answer(_encoded(begin), entries, whole, now + LIFETIME)

    def get(self, key: Key, begin: str, now: float) -> bytes | None:
        """Return what would be printed for names that begin with `begin`; None where somebody has to be asked."""
        answer = self._answers.get(key)
        wanted = _encoded(begin)
        if answer is None or now >= answer.until:
            return None
        # Hidden files are no answer unless they are asked for.
        narrower = answer.whole and wanted.startswith(answer.begin) and (answer.begin or not wanted.startswith(b"."))
        if not narrower and wanted != answer.begin:
            return None
        return b"".join(entry + b"\0" for entry in answer.entries if entry[1:].startswith(wanted))

    def clear(self) -> None:
        """Forget everything."""
        self._answers.clear()


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
