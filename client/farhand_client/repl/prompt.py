"""Reads commands from the person at the terminal. Nothing here needs a connection, nor imports what makes one."""

from __future__ import annotations

import os
import sys
import termios
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from prompt_toolkit import PromptSession
from prompt_toolkit.application import in_terminal, run_in_terminal
from prompt_toolkit.application.current import get_app, get_app_or_none
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, has_focus
from prompt_toolkit.history import History
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent, merge_key_bindings
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.styles import Style
from prompt_toolkit.utils import is_dumb_terminal

from farhand_client import caller, job

from .commands import is_repl_command
from .completer import RemoteCompleter
from .drawing import HiddenCharacters
from .highlighting import ShellLexer
from .history import DiskHistory, history_file
from .lines import LineJoiner
from .prompt_text import connected_prompt, connecting_prompt
from .suggestion import HistorySuggester, suggestion_bindings

if TYPE_CHECKING:
    from prompt_toolkit.formatted_text import StyleAndTextTuples

    from .hosts import Hosts
    from .terminal_input import FrontInput

CONTINUATION: Final = "> "
"""The prompt of the second and later lines of a command."""

TYPED_BEFORE: Final = 0.2
"""Seconds after the prompt appears in which a key may have been typed before it did: such keys are read at once."""

T = TypeVar("T")


class Prompt:
    """The prompt. `first` is the user's name for the first host; histories are kept below the state `directory`.

    `on_accept` is called when the user has accepted a text, before the modes of the terminal are restored.
    """

    def __init__(self, first: str, directory: Path, on_accept: Callable[[], None]) -> None:
        self.completer: Final = RemoteCompleter()
        self._first = first
        self._hosts: Hosts | None = None
        self._histories = Histories(directory)
        self._histories.select([first])
        self._appeared = 0.0
        """When the prompt appeared, in seconds of the monotonic clock."""
        self._modes: Final = termios.tcgetattr(0) if os.isatty(0) else None
        """The modes of the terminal before the first prompt."""
        self._session: PromptSession[str] = PromptSession(
            input=_front_input(),
            history=self._histories,
            completer=self.completer,
            complete_while_typing=False,
            auto_suggest=HistorySuggester(self._histories.latest_first),
            lexer=ShellLexer(),
            input_processors=[HiddenCharacters()],
            multiline=True,
            prompt_continuation=lambda width, line, wraps: "" if wraps else CONTINUATION,
            key_bindings=merge_key_bindings(
                [
                    _bindings(on_accept, self._suspend),
                    suggestion_bindings(),
                    _early_end_of_input(lambda: self._appeared),
                ]
            ),
        )
        if self._session.app.color_depth is ColorDepth.DEPTH_1_BIT:  # as with NO_COLOR
            self._session.style = Style([("auto-suggestion", "underline")])
        self._session.app.terminal_size_polling_interval = None  # there is SIGWINCH
        self._session.default_buffer.on_text_changed += lambda _: self.completer.cancel()

    def show_hosts(self, hosts: Hosts) -> None:
        """Show the active hosts from now on, and complete names on them."""
        self._hosts = self.completer.hosts = hosts
        hosts.when_changed(self._session.app.invalidate)
        self._session.app.invalidate()

    async def read(self, shown: Callable[[], None] = lambda: None) -> str:
        """Return the text that is typed; call `shown` when the prompt is on the screen.

        Raises EOFError for Ctrl-D, KeyboardInterrupt for Ctrl-C.
        """
        self.completer.reset()
        if self._hosts is not None:
            self._histories.select([host.name for host in self._hosts.active])

        def after_render(_: object) -> None:
            self._session.app.after_render -= after_render
            shown()

        if is_dumb_terminal():
            shown()  # nothing is rendered there: the prompt is written once, and then each key
        else:
            self._session.app.after_render += after_render
        self._appeared = time.monotonic()
        return await self._session.prompt_async(self._message, handle_sigint=False)

    async def ask_user(self, question: Callable[[], Awaitable[T]]) -> T:
        """Return the answer of `question`, which has the terminal until then. Implements `AskUser`."""
        async with in_terminal():
            self._restore_modes()
            return await question()

    def abort(self) -> None:
        """Erase the prompt and make `read` raise EOFError."""
        app = get_app_or_none()  # on a dumb terminal this is not the session's application
        if app is not None and app.is_running:
            app.erase_when_done = True
            app.exit(exception=EOFError)

    def take_problems(self) -> list[str]:
        """Return the problems with histories that were not returned before."""
        return self._histories.take_problems()

    def _restore_modes(self) -> None:
        """Set the modes from before the prompt for another program: what prompt_toolkit sets there lacks some."""
        if self._modes is not None:
            termios.tcsetattr(0, termios.TCSANOW, self._modes)

    def _suspend(self) -> None:
        self._restore_modes()
        job.suspend()

    def _message(self) -> StyleAndTextTuples:
        return connecting_prompt(self._first) if self._hosts is None else connected_prompt(self._hosts.active)


class Histories(History):
    """The histories of the active hosts: entries are added to all of them, and read from the first one's."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        self._known: dict[str, DiskHistory] = {}
        self._active: list[DiskHistory] = []

    def select(self, names: Sequence[str]) -> None:
        """Make the histories of the hosts with these names the active ones."""
        for name in names:
            if name not in self._known:
                self._known[name] = DiskHistory(history_file(self._directory, name), self._directory / "history")
        self._active = [self._known[name] for name in names]

    def take_problems(self) -> list[str]:
        """Return the problems that were not returned before."""
        found = [history.problem for history in self._known.values() if history.problem is not None]
        for history in self._known.values():
            history.problem = None
        return found

    def latest_first(self) -> Sequence[str]:
        """Return the entries of the first active host."""
        return self._active[0].latest_first

    async def load(self) -> AsyncGenerator[str, None]:
        """Implements `History`."""
        async for entry in self._active[0].load():
            yield entry

    def get_strings(self) -> list[str]:
        """Implements `History`."""
        return self._active[0].get_strings()

    def append_string(self, string: str) -> None:
        """Implements `History`."""
        for history in self._active:
            history.append_string(string)

    def load_history_strings(self) -> Iterable[str]:
        """Implements `History`. `load` loads everything."""
        return []

    def store_string(self, string: str) -> None:
        """Implements `History`. `append_string` stores everything."""


class PromptLineJoiner(LineJoiner):
    """Joins lines; a command of the REPL's own is always one line."""

    def feed(self, line: str) -> str | None:
        """Extends `LineJoiner`."""
        if self.unfinished is None and is_repl_command(line):
            return line
        return super().feed(line)


def split_commands(text: str) -> list[str]:
    """Return the commands of `text`. The last one may be incomplete after Meta-Enter; the remote shell reports that.

    Raises ValueError for a command that is too long for any service to run.
    """
    joiner = PromptLineJoiner()
    found = [command for line in text.split("\n") if (command := joiner.feed(line)) is not None]
    return [*found, joiner.pending] if joiner.pending else found


def _front_input() -> FrontInput | None:
    """Return the input where the kernel does not see to the job; None for the usual one."""
    if caller.job_of_front() is None:
        return None
    from .terminal_input import FrontInput  # few milliseconds, but no other process needs it

    return FrontInput(sys.stdin)


def _bindings(on_accept: Callable[[], None], suspend: Callable[[], None]) -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("c-z")
    def _(event: KeyPressEvent) -> None:
        run_in_terminal(suspend)

    @bindings.add("enter", filter=has_focus(DEFAULT_BUFFER))
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.complete_state is not None and buffer.complete_state.current_completion is not None:
            buffer.complete_state = None
        elif _is_complete(buffer.text):
            on_accept()
            buffer.validate_and_handle()
        else:
            buffer.newline(copy_margin=False)

    return bindings


def _early_end_of_input(appeared: Callable[[], float]) -> KeyBindings:
    """Return a binding for a Ctrl-D that was typed before the prompt appeared.

    The terminal's line discipline has taken it for the end of its input, and passes it on as NUL, like Ctrl-Space.
    """
    bindings = KeyBindings()
    early = Condition(lambda: time.monotonic() - appeared() < TYPED_BEFORE and not get_app().current_buffer.text)

    @bindings.add("c-@", filter=early & has_focus(DEFAULT_BUFFER))
    def _(event: KeyPressEvent) -> None:
        event.app.exit(exception=EOFError, style="class:exiting")

    return bindings


def _is_complete(text: str) -> bool:
    joiner = PromptLineJoiner()
    try:
        for line in text.split("\n"):
            joiner.feed(line)
    except ValueError:
        return True  # `split_commands` reports it
    return joiner.unfinished is None
