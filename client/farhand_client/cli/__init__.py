"""The `farhand` command.

`main` finds the command, imports the module that implements it (no other), and turns an error into one message and an
exit code. A command parses its arguments with `options` and `values`, opens a connection with `connection`, and calls
the API. `run`, `shell` and `local` start a run through `execute`, which copies its streams, handles signals and reports
the outcome; a run on the user's terminal is shown by `terminal_view`. `logs` and `attach`, `signal` and `kill`, `ping`
and `trust` share a module each. `status` turns outcomes and errors into JSON.

What the REPL needs as well (messages, exit codes, prompts, signals, output) is in `farhand_client.ui`.
"""

from .main import main

__all__ = ["main"]
