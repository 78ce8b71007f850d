"""Finds and runs the command that was given, and turns an error into one message and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from farhand_client.ui.exitcodes import EXIT_BROKEN_PIPE, EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_USAGE

COMMANDS: Final = {
    "shell": "open a login shell on another machine",
    "run": "run a command on another machine",
    "ps": "list runs",
    "logs": "show the output of a run",
    "attach": "attach to a run: show its output and send it input",
    "replay": "play back a run's output at its original pace",
    "export": "save a run's output with its timing, for asciinema",
    "wait": "wait until runs end, or for something in their output",
    "signal": "send a signal to a run",
    "kill": "stop runs: TERM, wait, then KILL",
    "repl": "type commands that another machine's shell runs",
    "ping": "measure round-trip times and show who answers",
    "trust": "record a service's host key",
    "local": "run one command, or the REPL, on a temporary private service",
}
"""The commands, with a summary of each."""

_MODULES: Final = {"logs": "attach", "signal": "kill", "ping": "trust"}
"""The modules of those commands that are not in a module of their own name."""

_USAGE: Final = """usage: farhand COMMAND …

Run commands on another machine and find out exactly how they ended.

commands:
{commands}

`farhand COMMAND --help` describes a command; `farhand --version` prints the version.
HOST is [user@]name[:port], unix:PATH, or a name from ~/.config/farhand/config.toml."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (default: `sys.argv[1:]`) names and return the exit code of the process."""
    _open_standard_files()
    _reset_signals()
    try:
        return _run_command(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        from farhand_client.ui.printing import discard_buffer

        discard_buffer(1)
        return EXIT_BROKEN_PIPE
    except Exception as error:
        from farhand_client.errors import AddressError, FarhandError

        if not isinstance(error, FarhandError):
            raise
        from farhand_client.ui.printing import print_message

        print_message(str(error))
        return EXIT_USAGE if isinstance(error, AddressError) else EXIT_FAILURE


def _run_command(arguments: list[str]) -> int:
    from importlib import import_module

    name = arguments.pop(0) if arguments else ""
    if name in ("-h", "--help", "--version"):
        from farhand_client.ui.printing import print_output
        from farhand_client.version import __version__

        print_output(f"farhand {__version__}" if name == "--version" else _usage())
        return 0
    if name not in COMMANDS:
        from farhand_client.ui.printing import print_message

        print_message(f"unknown command {name!r}" if name else "no command given")
        sys.stderr.write(f"{_usage()}\n")
        return EXIT_USAGE
    # Searching for pydantic plugins takes 10 ms, and Farhand uses none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    module = import_module(f"farhand_client.cli.{_MODULES.get(name, name)}")
    code: int = getattr(module, f"{name}_command")(arguments)
    return code


def _usage() -> str:
    return _USAGE.format(commands="\n".join(f"  {name:8} {text}" for name, text in COMMANDS.items()))


def _open_standard_files() -> None:
    # Otherwise the next file opened, perhaps the connection, would become stdout; and Python has no stream for a
    # descriptor that was closed at its start.
    for fd, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(fd, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  # never closed


def _reset_signals() -> None:
    # Ignored and blocked signals are inherited (signal(7)). As with ssh(1), SIGHUP and SIGINT stay ignored if they were
    # ignored before: nohup(1) and a script's `&` rely on that. SIGTERM always ends this process.
    import signal

    kept = {signal.SIGKILL, signal.SIGSTOP, signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ}
    for number in signal.valid_signals() - kept:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
