"""A prompt at which typed characters are predicted."""

from __future__ import annotations

from tests.support.line_editors import LineEditor
from tests.support.predicted_terminal import PredictedTerminal


def at_prompt(editor: LineEditor | None = None, *, columns: int = 40) -> tuple[PredictedTerminal, LineEditor]:
    """Return a terminal with a line editor whose echo is confirmed: `$ a`."""
    terminal, editor = PredictedTerminal(columns=columns), editor or LineEditor()
    terminal.output(editor.start())
    terminal.type(b"a")
    terminal.output(editor.reads("a"))
    terminal.settle()
    return terminal, editor
