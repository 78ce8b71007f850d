"""Reads commands from the person at the terminal. Nothing here needs a connection, nor what makes one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from prompt_toolkit import PromptSession
from prompt_toolkit.application import in_terminal
from prompt_toolkit.application.current import get_app_or_none
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import has_focus
from prompt_toolkit.history import History
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.utils import is_dumb_terminal

from .commands import is_own
from .completer import RemoteCompleter
from .history import DiskHistory, history_file
from .lines import Assembler
from .prompt_text import connecting, message

if TYPE_CHECKING:
    from prompt_toolkit.formatted_text import StyleAndTextTuples

    from .hosts import Hosts

CONTINUED: Final = "> "

T = TypeVar("T")


class Prompt:
    """Shows where one is. `first` is the host as the user calls it, `directory` where histories are.

    `accepted` is called once a text is to be run, before the terminal is as programs find it.
    """

    def __init__(self, first: str, directory: Path, accepted: Callable[[], None]) -> None:
        self.completer: Final = RemoteCompleter()
        self._first = first
        self._hosts: Hosts | None = None
        self._histories = Histories(directory)
        self._histories.of([first])
        self._session: PromptSession[str] = PromptSession(
            history=self._histories,
            completer=self.completer,
            complete_while_typing=False,
            multiline=True,
            prompt_continuation=lambda width, line, wraps: "" if wraps else CONTINUED,
            key_bindings=_bindings(accepted),
            enable_suspend=True,
        )
        self._session.app.terminal_size_polling_interval = None  # SIGWINCH tells
        self._session.default_buffer.on_text_changed += lambda _: self.completer.cancel()

    def of(self, hosts: Hosts) -> None:
        """Show from now on where lines go to."""
        self._hosts = self.completer.hosts = hosts
        hosts.when_changed(self._session.app.invalidate)
        self._session.app.invalidate()

    async def read(self, shown: Callable[[], None] = lambda: None) -> str:
        """Return what is typed, `shown` being called once the prompt is there.

        Raises EOFError for Ctrl-D, KeyboardInterrupt for Ctrl-C.
        """
        self.completer.forget()
        if self._hosts is not None:
            self._histories.of([host.name for host in self._hosts.active])

        def after_render(_: object) -> None:
            self._session.app.after_render -= after_render
            shown()

        if is_dumb_terminal():
            shown()  # nothing is ever rendered there: the prompt is written, and then each key
        else:
            self._session.app.after_render += after_render
        return await self._session.prompt_async(self._message, handle_sigint=False)

    async def aside(self, question: Callable[[], Awaitable[T]]) -> T:
        """Return what `question`, which has the terminal meanwhile, comes to; the prompt is there again afterwards."""
        async with in_terminal():
            return await question()

    def leave(self) -> None:
        """Have `read` raise EOFError, and the prompt vanish."""
        app = get_app_or_none()  # on a dumb terminal not the session's
        if app is not None and app.is_running:
            app.erase_when_done = True
            app.exit(exception=EOFError)

    def problems(self) -> list[str]:
        """Return what is wrong with histories, once."""
        return self._histories.problems()

    def _message(self) -> StyleAndTextTuples:
        return connecting(self._first) if self._hosts is None else message(self._hosts.active)


class Histories(History):
    """Those of the hosts that lines go to: what is typed is kept for each, what is found is the first one's."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        self._known: dict[str, DiskHistory] = {}
        self._active: list[DiskHistory] = []

    def of(self, names: Sequence[str]) -> None:
        """Be those of the hosts of these names."""
        for name in names:
            if name not in self._known:
                self._known[name] = DiskHistory(history_file(self._directory, name), self._directory / "history")
        self._active = [self._known[name] for name in names]

    def problems(self) -> list[str]:
        """Return what is wrong with them, once."""
        found = [history.problem for history in self._known.values() if history.problem is not None]
        for history in self._known.values():
            history.problem = None
        return found

    async def load(self) -> AsyncGenerator[str, None]:
        """History."""
        async for entry in self._active[0].load():
            yield entry

    def get_strings(self) -> list[str]:
        """History."""
        return self._active[0].get_strings()

    def append_string(self, string: str) -> None:
        """History."""
        for history in self._active:
            history.append_string(string)

    def load_history_strings(self) -> Iterable[str]:
        """History. Everything is loaded by `load`."""
        return []

    def store_string(self, string: str) -> None:
        """History. Everything is stored by `append_string`."""


class Typed(Assembler):
    """Joins lines; one that is for us is whole by itself."""

    def feed(self, line: str) -> str | None:
        """Assembler."""
        if self.unfinished is None and is_own(line):
            return line
        return super().feed(line)


def commands(text: str) -> list[str]:
    """Return the commands of `text`; what the last one lacks is for the remote shell to say, after Meta-Enter.

    Raises ValueError for one that no service could run.
    """
    typed = Typed()
    found = [command for line in text.split("\n") if (command := typed.feed(line)) is not None]
    return [*found, typed.rest] if typed.rest else found


def _bindings(accepted: Callable[[], None]) -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("enter", filter=has_focus(DEFAULT_BUFFER))
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.complete_state is not None and buffer.complete_state.current_completion is not None:
            buffer.complete_state = None
        elif _whole(buffer.text):
            accepted()
            buffer.validate_and_handle()
        else:
            buffer.newline(copy_margin=False)

    return bindings


def _whole(text: str) -> bool:
    typed = Typed()
    try:
        for line in text.split("\n"):
            typed.feed(line)
    except ValueError:
        return True
    return typed.unfinished is None
