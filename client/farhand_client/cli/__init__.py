"""The `farhand` command.

`main` is the entry, and turns whatever a command has not handled into one sentence and an exit code. `commands` finds
the command and imports the module that implements it (no other). A command parses its arguments with `options`,
`values` and `parser`, opens a connection with `connection`, runs the event loop with `loop`, and calls the API. `run`,
`shell` and `local` start a run through `execute`, which copies its streams, handles signals and reports the outcome; a
run on the user's terminal is shown by `terminal_view`. `logs` and `attach`, `signal` and `kill`, `ping` and `trust`
share a module each. `status` turns outcomes and errors into JSON.

What the REPL needs as well (messages, exit codes, prompts, signals, output) is in `farhand_client.ui`.
"""

from .main import main

__all__ = ["main"]
