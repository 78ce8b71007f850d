"""Completes names by asking the remote host, for prompt_toolkit, without delaying what the user types.

Answers are cached for some seconds: as more of a name is typed they are narrowed, and the host is not asked again. The
options of a command are cached for longer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from farhand_client.errors import FarhandError
from farhand_client.ui.text import truncate
from farhand_protocol.limits import KiB
from farhand_protocol.sentences import printable

from .commands import REPL_COMMANDS, CompletionTarget, completion_target, has_word_before
from .completion import MAX_NAMES, CompletionAnswer, CompletionQuery, completion_query, query_argv
from .lines import decode, encode
from .paths import local_names

if TYPE_CHECKING:
    from .hosts import Hosts, ReplHost


COMPLETION_TIMEOUT: Final = 3.0
"""Seconds after which a completion is abandoned, here and on the remote host."""

ARGUMENTS_TIMEOUT: Final = 2.0
"""The same where bash-completion is asked: early enough to show the names of files instead."""

MAX_COMPLETION_OUTPUT: Final = 256 * KiB
"""Bytes of names: twice the maximum of 500 names (NAME_MAX is 255)."""

MAX_META_COLUMNS: Final = 60
"""Columns of the text beside a completion."""

CACHE_LIFETIME: Final = 5.0
"""Seconds: about as long as it takes to type a word. A line that is run may change names, so it empties the cache."""

OPTIONS_LIFETIME: Final = 300.0
"""Seconds: the options of a command change when it is installed anew, which takes longer."""

MAX_CACHED_ANSWERS: Final = 16
"""Answers in the cache, of at most 256 KiB each."""


class RemoteCompleter(Completer):
    """Asks the first active host over its current connection; without a connection there are no completions."""

    def __init__(self) -> None:
        self.hosts: Hosts | None = None
        """The hosts to ask; None until there is a connection."""
        self._cache = CompletionCache()
        self._slow: set[tuple[str, str]] = set()
        """Hosts and commands whose completion in bash took too long, so that it is not asked for again."""
        self._task: asyncio.Task[list[Completion]] | None = None

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Implements `Completer`. No completion is available without waiting."""
        return ()

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        """Implements `Completer`."""
        self.cancel()
        if self.hosts is None:
            return
        task = self._task = asyncio.ensure_future(_all(self._completions(document.text_before_cursor, self.hosts)))
        try:
            await asyncio.wait([task], timeout=COMPLETION_TIMEOUT)
        finally:
            # Do not wait for the task to end: stopping the remote command takes a round trip.
            task.cancel()
        if task.done() and not task.cancelled():
            with contextlib.suppress(FarhandError, ValueError):
                for completion in task.result():
                    yield completion

    def cancel(self) -> None:
        """Cancel the completion in progress."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def reset(self) -> None:
        """Cancel the completion in progress and empty the cache, since a line that was run may have changed names."""
        self.cancel()
        self._cache.clear()

    async def _completions(self, before: str, hosts: Hosts) -> AsyncIterator[Completion]:
        target = completion_target(before)
        host = hosts.active[0]
        if target is None:
            query = completion_query(before)
        elif target.kind == "directories":
            query = completion_query(f"cd {target.words}")
        elif target.kind in ("fetched", "sent"):
            async for completion in self._paths(target, host):
                yield completion
            return
        else:
            for text, meta in await self._candidates(target, hosts):
                if text.startswith(target.begin):
                    shown_meta = truncate(printable(meta), MAX_META_COLUMNS)
                    yield Completion(text, -len(target.begin), display_meta=shown_meta)
            return
        if query is None:
            return
        if query.bash is not None and (host.name, query.bash.words[0]) in self._slow:
            query = query.without_bash()
        for answer in query.answers(await self._ask(query, host)):
            yield _completion(query, answer, answer.description)

    async def _paths(self, target: CompletionTarget, host: ReplHost) -> AsyncIterator[Completion]:
        """Yield paths on the side where the word at the cursor belongs, or on both if it may be on either."""
        query = completion_query(f"cat {target.words}")
        if query is None or query.kind not in ("arguments", "paths"):
            return
        query = query.without_bash()
        either = has_word_before(target.words)
        if target.kind == "sent" or either:
            for answer in query.answers(await asyncio.to_thread(local_names, query)):
                yield _completion(query, answer, "here" if either else "")
        if target.kind == "fetched" or either:
            for answer in query.answers(await self._ask(query, host)):
                yield _completion(query, answer, "there" if either else "")

    async def _candidates(self, target: CompletionTarget, hosts: Hosts) -> list[tuple[str, str]]:
        """Return all arguments of the kind of `target`, and the text to show beside each."""
        match target.kind:
            case "commands":
                return [(name, command.summary) for name, command in REPL_COMMANDS.items()]
            case "hosts":
                sign = target.begin[:1] if target.begin[:1] in ("+", "-") else ""
                names = dict.fromkeys(hosts.known) if sign == "-" else dict.fromkeys([*hosts.known, *_configured()])
                return [(sign + name, "") for name in names]
            case "runs":
                return [run for host in hosts.active for run in await self._runs(host)]
            case "variables":
                known = {decode(name) for host in hosts.active for name in host.state.variables}
                return [(f"-{name}", "") for name in sorted(known)] + [(f"{name}=", "") for name in sorted(known)]
        return []

    async def _runs(self, host: ReplHost) -> list[tuple[str, str]]:
        jobs = [(job.name, job.text) for job in host.jobs.running]
        client = host.connection.client
        if client is None:
            return jobs
        kept = [run for run in await client.runs() if run.owner == client.user and run.on_disconnect == "keep"]
        return jobs + [
            (host.jobs.name(run.id), run.command)
            for run in kept
            if not any(run.id.startswith(name) for name, _ in jobs)
        ]

    async def _ask(self, query: CompletionQuery, host: ReplHost) -> bytes:
        """Return what the script of `query` prints on `host`, from the cache if possible."""
        loop = asyncio.get_running_loop()
        key = (host.name, *query.key)
        cached = self._cache.get(key, query.begin, loop.time())
        client = host.connection.client
        if cached is not None or client is None:
            return cached or b""
        from farhand_client.options import RunOptions
        from farhand_client.results import CommandTimeout

        argv = [encode(argument) for argument in query_argv(query)]
        try:
            done = await client.run(
                argv,
                RunOptions.of(internal=True),
                cwd=host.state.directory,
                env=host.state.environment,
                timeout=COMPLETION_TIMEOUT if query.bash is None else ARGUMENTS_TIMEOUT,
                kill_after=0,
                max_output=MAX_COMPLETION_OUTPUT,
            )
        except CommandTimeout as error:
            if query.bash is not None:
                self._slow.add((host.name, query.bash.words[0]))
            return bytes(error.completed.stdout)
        printed = bytes(done.stdout)
        # With git's `--no-...`, more of the word brings more.
        complete = not done.truncated and printed.count(b"\0") < MAX_NAMES and b"...\0" not in printed
        lasting = query.about_options and complete
        self._cache.put(key, query.begin, printed, loop.time(), complete=complete, lasting=lasting)
        return printed


def _completion(query: CompletionQuery, answer: CompletionAnswer, meta: str) -> Completion:
    shown_meta = truncate(printable(meta), MAX_META_COLUMNS)
    return Completion(answer.text, -query.typed, display=printable(answer.shown), display_meta=shown_meta)


def _configured() -> Iterable[str]:
    """Return the names of hosts in config.toml."""
    from farhand_client.config import config_directory, load_hosts

    path = config_directory() / "config.toml"
    return load_hosts(path) if path.exists() else ()


async def _all(completions: AsyncIterator[Completion]) -> list[Completion]:
    return [completion async for completion in completions]


CacheKey: TypeAlias = tuple[str, ...]
"""The host, and `CompletionQuery.key`."""


class _Answer(NamedTuple):
    begin: bytes
    entries: tuple[bytes, ...]
    complete: bool
    expires: float
    lasting: bool


class CompletionCache:
    """Caches what the script printed: for each name a character for its kind, itself and NUL. Times are in seconds.

    An answer that is `lasting` does not depend on what the lines that are run may change.
    """

    def __init__(self) -> None:
        self._answers: dict[CacheKey, _Answer] = {}

    def put(
        self, key: CacheKey, begin: str, printed: bytes, now: float, *, complete: bool, lasting: bool = False
    ) -> None:
        """Store the names that begin with `begin`; `complete` says whether these are all of them."""
        self._answers.pop(key, None)
        while len(self._answers) >= MAX_CACHED_ANSWERS:
            del self._answers[next(iter(self._answers))]
        entries = tuple(printed.split(b"\0")[:-1])
        expires = now + (OPTIONS_LIFETIME if lasting else CACHE_LIFETIME)
        self._answers[key] = _Answer(encode(begin), entries, complete, expires, lasting)

    def get(self, key: CacheKey, begin: str, now: float) -> bytes | None:
        """Return what the script would print for names that begin with `begin`; None if the cache does not know."""
        answer = self._answers.get(key)
        wanted = encode(begin)
        if answer is None or now >= answer.expires:
            return None
        # The names for an empty beginning do not include hidden files, nor those for a dash all long options.
        narrower = answer.complete and wanted.startswith(answer.begin)
        if wanted != answer.begin and (not narrower or (answer.begin in (b"", b"-") and wanted[:1] in (b".", b"-"))):
            return None
        return b"".join(
            entry + b"\0" for entry in answer.entries if entry[:1] not in (b" ", b"/") or entry[1:].startswith(wanted)
        )

    def clear(self) -> None:
        """Remove all answers that are not lasting."""
        self._answers = {key: answer for key, answer in self._answers.items() if answer.lasting}
