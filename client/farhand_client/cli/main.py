"""Finds the command, and makes of what goes wrong one sentence and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from farhand_client.ui.exitcodes import EXIT_BROKEN_PIPE, EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_USAGE

COMMANDS: Final = {
    "shell": "work in a shell on another machine",
    "run": "run a command on another machine",
    "ps": "list the runs of a service",
    "logs": "show what a run has written",
    "attach": "take part in a run that is there",
    "replay": "show what a run has written, with the pauses it made",
    "export": "write to a file what a run has written, and when",
    "wait": "wait for the end of runs, or for something in their output",
    "signal": "send a signal to a run",
    "kill": "end runs, with everything they started",
    "repl": "type commands that another machine's shell runs",
    "ping": "measure round trips and say who answers",
    "trust": "put a service's key on record",
    "local": "start a service for just one command, or for a REPL",
}

HELP: Final = """usage: farhand COMMAND …

Runs commands on another machine and tells the truth about what happened to them.

{commands}

`farhand COMMAND --help` says more; `farhand --version` prints the version.
HOST is [user@]name[:port], unix:PATH, or a name from ~/.config/farhand/config.toml."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code of the process."""
    _open_standard_files()
    _reset_signals()
    try:
        return _command(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        from farhand_client.ui.printing import discard_buffer

        discard_buffer(1)
        return EXIT_BROKEN_PIPE
    except Exception as error:
        from farhand_client.errors import AddressError, FarhandError
        from farhand_client.ui.printing import print_message

        if not isinstance(error, FarhandError):
            raise
        print_message(str(error))
        return EXIT_USAGE if isinstance(error, AddressError) else EXIT_FAILURE


def _command(arguments: list[str]) -> int:
    from importlib import import_module

    name = arguments.pop(0) if arguments else ""
    if name in ("-h", "--help", "--version"):
        from farhand_client.ui.printing import print_output
        from farhand_client.version import __version__

        print_output(f"farhand {__version__}" if name == "--version" else _help())
        return 0
    if name not in COMMANDS:
        from farhand_client.ui.printing import print_message

        print_message(f"there is no command {name!r}" if name else "a command is needed")
        sys.stderr.write(f"{_help()}\n")
        return EXIT_USAGE
    # Looking for plugins of pydantic, which have no business here, costs 10 ms.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    code: int = import_module(f"farhand_client.cli.{name}").main(arguments)
    return code


def _help() -> str:
    return HELP.format(commands="\n".join(f"  {name:6} {text}" for name, text in COMMANDS.items()))


def _open_standard_files() -> None:
    # Else the next file opened, perhaps the connection, would become stdout; and Python has no stream for a closed one.
    for fd, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(fd, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  # for good


def _reset_signals() -> None:
    # Ignored and blocked signals are inherited (signal(7)). As with ssh(1), SIGHUP and SIGINT stay ignored where they
    # were: nohup(1) and a script's `&` mean that. SIGTERM always ends this process.
    import signal

    kept = {signal.SIGKILL, signal.SIGSTOP, signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ}
    for number in signal.valid_signals() - kept:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
