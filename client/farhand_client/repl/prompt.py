"""The REPL at a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from prompt_toolkit import PromptSession
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import has_focus
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from farhand_client.cli.printable import printable

from .completer import RemoteCompleter
from .history import DiskHistory
from .interpreter import Interpreter, Leave
from .lines import Assembler
from .link import Link
from .output import Output, say
from .state import State

CONTINUED: Final = "> "


class Prompt:
    """Reads commands from the person at the terminal until they leave."""

    def __init__(self, link: Link, interpreter: Interpreter, output: Output, history: Path) -> None:
        self._link = link
        self._interpreter = interpreter
        self._output = output
        self._history = DiskHistory(history)
        self._completer = RemoteCompleter(link, interpreter.state)
        self._session: PromptSession[str] = PromptSession(
            history=self._history,
            completer=self._completer,
            complete_while_typing=False,
            multiline=True,
            prompt_continuation=CONTINUED,
            key_bindings=_bindings(),
            enable_suspend=True,
        )
        self._session.default_buffer.on_text_changed += lambda _: self._completer.cancel()

    async def run(self) -> None:
        """Prompt, run, and so on. Raises `Leave`."""
        while True:
            self._say_problems()
            try:
                text = await self._session.prompt_async(
                    lambda: message(self._link, self._interpreter.state), handle_sigint=False
                )
            except KeyboardInterrupt:
                continue
            except EOFError:
                raise Leave(self._interpreter.state.code) from None
            await self._execute(text)
            await self._output.to_line_start()

    async def _execute(self, text: str) -> None:
        assembler = Assembler()
        for line in text.split("\n"):
            try:
                command = assembler.feed(line)
            except ValueError as error:
                say(str(error))
                return
            if command is not None and (not await self._interpreter.execute(command) or self._interpreter.interrupted):
                return
        # Accepted as it is, by Meta-Enter: let the remote shell say what it lacks.
        if rest := assembler.rest:
            await self._interpreter.execute(rest)

    def _say_problems(self) -> None:
        self._link.check()
        problem, self._history.problem = self._history.problem, None
        if problem is not None:
            say(problem)


def message(link: Link, state: State) -> StyleAndTextTuples:
    """Return the prompt: user, host, directory, and how the last line ended if not well."""
    parts: StyleAndTextTuples = [
        ("bold", printable(f"{link.user}@{link.host}")),
        ("", ":"),
        ("ansiblue", printable(state.where)),
    ]
    if state.code:
        parts.append(("ansired", f" [{state.ended or state.code}]"))
    parts.append(("", "# " if link.user == "root" else "$ "))
    return parts


def _bindings() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("enter", filter=has_focus(DEFAULT_BUFFER))
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.complete_state is not None and buffer.complete_state.current_completion is not None:
            buffer.complete_state = None
        elif _whole(buffer.text):
            buffer.validate_and_handle()
        else:
            buffer.newline(copy_margin=False)

    return bindings


def _whole(text: str) -> bool:
    assembler = Assembler()
    try:
        for line in text.split("\n"):
            assembler.feed(line)
    except ValueError:
        return True
    return assembler.unfinished is None
