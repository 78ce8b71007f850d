"""Finds the command that was given, imports the module that implements it (no other), and runs it."""

from __future__ import annotations

import os

from farhand_client.caller import commit
from farhand_client.ui.exitcodes import EXIT_USAGE
from farhand_client.ui.process import require_memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

COMMANDS: Final = {
    "shell": "open a login shell on another machine",
    "run": "run a command on another machine",
    "rsh": "run a command or a shell with ssh's own options, for rsync, git, scp and the like",
    "install-shims": "write programs called ssh, scp and sftp that go over Farhand",
    "put": "send files to another machine",
    "get": "fetch files from another machine",
    "sync": "make a directory like another one, there or here; only what differs is sent",
    "cp": "put or get, with HOST:PATH as for scp",
    "forward": "forward ports and sockets of another machine here, and the other way round",
    "ps": "list runs",
    "logs": "show the output of a run",
    "attach": "attach to a run: show its output and send it input",
    "replay": "play back a run's output at its original pace",
    "export": "save a run's output with its timing, for asciinema",
    "wait": "wait until runs end, or for something in their output",
    "signal": "send a signal to a run",
    "kill": "stop runs: TERM, wait, then KILL",
    "repl": "type commands that another machine's shell runs",
    "web": "show hosts and their runs in a browser, which connects with your keys",
    "ping": "measure round-trip times and show who answers",
    "status": "ask a service how it is",
    "trust": "record a service's host key",
    "helper": "show or stop what keeps connections ready",
    "up": "install and start Farhand on another machine over ssh",
    "local": "run one command, or the REPL, on a temporary private service",
}
"""The commands, with a summary of each."""

_MODULES: Final = {
    "install-shims": "shims",
    "get": "put",
    "cp": "sync",
    "logs": "attach",
    "signal": "kill",
    "ping": "trust",
    "status": "trust",
}
"""The modules of those commands that are not in a module of their own name."""

_SUMMARY: Final = "Run commands on another machine and find out exactly how they ended; send and fetch files."

_NOTES: Final = (
    "`farhand COMMAND --help` describes a command; `farhand --version` prints the version. FARHAND_DEBUG=1 in the "
    "environment shows the traceback of an error.",
    "HOST is [user@]name[:port], ssh:[user@]name for a service reached through ssh, unix:PATH, or a name from "
    "~/.config/farhand/config.toml or ~/.ssh/config. It may be left out where default_host of the former or the "
    "variable FARHAND_HOST names one: farhand run -- uname -a.",
)


def run_command(arguments: list[str]) -> int:
    """Run the command that `arguments` begin with and return the exit code of the process."""
    from importlib import import_module

    name = arguments.pop(0) if arguments else ""
    if name in ("-h", "--help", "--version"):
        from farhand_client.ui.printing import print_output
        from farhand_client.version import __version__

        print_output(f"farhand {__version__}" if name == "--version" else _usage())
        return 0
    if name not in COMMANDS:
        from farhand_client.ui.printing import print_message, print_usage

        from .unknown import command_meant

        meant = command_meant(name, arguments, COMMANDS) if name else ""
        print_message(f"unknown command {name!r}{meant}" if name else "no command given")
        if not meant:
            print_usage(_usage())
        return EXIT_USAGE
    require_memory()
    handover = None
    if name in ("run", "rsh"):
        from farhand_client.direct.command import rsh_directly, run_directly

        done = (run_directly if name == "run" else rsh_directly)(arguments)
        if isinstance(done, int):
            return done
        handover = done
        if handover is not None:
            commit()
    # Searching for pydantic plugins takes 10 ms, and Farhand uses none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    module = import_module(f"farhand_client.cli.{_MODULES.get(name, name)}")
    command = getattr(module, f"{name.rpartition('-')[2]}_command")
    code: int = command(arguments) if handover is None else command(arguments, handover)
    return code


def _usage() -> str:
    from farhand_client.ui.printing import help_columns
    from farhand_client.ui.text import wrap_words

    columns = help_columns()
    width = max(map(len, COMMANDS)) + 1
    listed = [
        line
        for name, text in COMMANDS.items()
        for line in wrap_words(f"{name:{width}}{text}", columns - 2, " " * width)
    ]
    parts = [
        ["usage: farhand COMMAND …"],
        wrap_words(_SUMMARY, columns),
        ["commands:", *(f"  {line}" for line in listed)],
        [line for note in _NOTES for line in wrap_words(note, columns)],
    ]
    return "\n\n".join("\n".join(lines) for lines in parts)
