"""The commands and options of `farhandd`."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from farhand_protocol.sentences import closest
from farhand_server import __version__

from .report import print_lines, print_result

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

_EPILOG: Final = """\
`farhandd example config` describes every configuration key. Exit code: 0 success; 1 failure; 2 wrong usage; 255 output
that cannot be written, or anything unforeseen, of which FARHAND_DEBUG=1 in the environment shows the traceback.
"""

_BY_SIGNAL: Final = "a signal does that, or systemctl: TERM stops the service, HUP reloads it"

_INSTEAD: Final = {
    "start": "did you mean serve?",
    "run": "did you mean serve?",
    "stop": _BY_SIGNAL,
    "restart": _BY_SIGNAL,
    "reload": _BY_SIGNAL,
}
"""What to do instead of commands that other services have."""

MAX_DESCRIPTOR: Final = (1 << 31) - 1
"""A C int."""

Action = Callable[[argparse.Namespace], int]


def run_command(arguments: Sequence[str] | None) -> int:
    """Run the command given by `arguments` (default: the process's own), and return the exit code."""
    # The service runs no code of others, and looking for plugins takes 6 ms. No run inherits this.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    options, unknown = _parser().parse_known_args(arguments)
    if unknown:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if "passkey" in options and bool(options.keys) == options.passkey:
        options.parser.error("give keys to authorize, or --passkey")
    code: int = options.act(options)
    return code


class _Formatter(argparse.HelpFormatter):
    """Wraps help at blanks only: a broken option, path or metavar cannot be copied."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_long_words=False, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return textwrap.indent("\n".join(self._split_lines(text, width - len(indent))), indent)


class _Parser(argparse.ArgumentParser):
    """A parser whose help, and that of its commands, is formatted by `_Formatter`, and printed as everything else."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **({"formatter_class": _Formatter} | options))

    def error(self, message: str) -> NoReturn:
        """Print the usage and the mistake, with a similar command or option for a wrong one, and exit with 2."""
        if unknown := re.match(r"unrecognized arguments: (-[^\s=]*)", message):
            shown = self.format_help().partition("options:")[2]
            message += _suggestion(unknown[1], re.findall(r"(?<![^\s,])--?[A-Za-z][\w-]*", shown))
        elif choice := re.search(r"invalid choice: '(.*)' \(choose from (.*)\)$", message):
            instead = _INSTEAD.get(choice[1]) if "serve" in choice[2] else None
            message += f"; {instead}" if instead else _suggestion(choice[1], re.findall(r"[\w-]+", choice[2]))
        super().error(message)

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        # The one method through which argparse prints; it ignores errors itself.
        if file is sys.stdout:
            print_result(message.rstrip("\n"))
        else:
            print_lines(message.rstrip("\n"))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="farhandd", description="The Farhand service: runs commands for clients.", epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"farhandd {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="run the service, and an edge if there is an address to listen on")
    _common(serve)
    serve.add_argument("--socket", metavar="PATH", help="Unix socket for clients on this machine")
    serve.add_argument(
        "--listen", metavar="HOST:PORT", action="append", help="network address to listen on; repeatable"
    )
    serve.add_argument(
        "--resume", metavar="N", type=_descriptor, help=argparse.SUPPRESS
    )  # snapshot of the previous program
    serve.add_argument("--check-resume", metavar="N", type=_descriptor, help=argparse.SUPPRESS)  # only check a snapshot
    serve.set_defaults(act=_lazily("serve", "serve"))

    upgrade = commands.add_parser(
        "upgrade",
        help="replace the running service's program with the installed one; runs continue",
        epilog="Exit code: 0 upgraded; 1 not upgraded, the reason is printed and the service continues unchanged.",
    )
    _common(upgrade)
    upgrade.add_argument("--socket", metavar="PATH", help="Unix socket of the running service")
    upgrade.set_defaults(act=_lazily("upgrade", "upgrade"))

    status = commands.add_parser(
        "status",
        help="ask the running service how it is",
        epilog="Exit code: 0 all is well; 1 it has faults, which are printed, or cannot be asked.",
    )
    _common(status)
    status.add_argument("--socket", metavar="PATH", help="Unix socket of the running service")
    status.set_defaults(act=_lazily("status", "status"))

    edge = commands.add_parser("edge", help="run only an edge, for a core started by `serve`")
    _common(edge)
    edge.add_argument("--listen", metavar="HOST:PORT", action="append", help="network address to listen on; repeatable")
    edge.add_argument("--key", metavar="FILE", type=Path, help="private host key (default: STATE_DIR/host_key)")
    edge.add_argument("--child", action="store_true", help=argparse.SUPPRESS)  # of `serve`, which sends the sockets
    edge.set_defaults(act=_lazily("edge", "edge"))

    web = commands.add_parser("web", help="run only the web door, for a core started by `serve`")
    _common(web)
    web.add_argument("--certificate", metavar="FILE", type=Path, help="certificate chain (default: web.certificate)")
    web.add_argument("--key", metavar="FILE", type=Path, help="its private key (default: web.key)")
    web.add_argument("--child", action="store_true", help=argparse.SUPPRESS)  # of `serve`, which sends the sockets
    web.set_defaults(act=_lazily("web", "web"))

    stdio = commands.add_parser(
        "stdio",
        help="join stdin and stdout to the running service's socket, as `ssh HOST farhandd stdio` does for clients",
        epilog="Exit code: 0 the connection was closed; 69 no service answers.",
    )
    stdio.add_argument(
        "--socket", metavar="PATH", help="Unix socket of the service (default: this account's, or else the system's)"
    )
    stdio.set_defaults(act=_lazily("stdio", "stdio"), parser=stdio)

    check = commands.add_parser(
        "check", help="validate configuration and policy, and print the configuration that applies"
    )
    _common(check)
    check.set_defaults(act=_lazily("admin", "check"))

    host_key = commands.add_parser("host-key", help="print the host key and its fingerprint; create it if missing")
    _common(host_key)
    host_key.set_defaults(act=_lazily("admin", "host_key"))

    example = commands.add_parser("example", help="print a commented example of the configuration or the policy")
    example.add_argument("file", choices=("config", "policy"), help="farhandd.toml, or the file that policy.file names")
    example.set_defaults(act=_lazily("admin", "example"), parser=example)

    authorize = commands.add_parser("authorize", help="allow public keys to log in as this account")
    _common(authorize)
    authorize.add_argument(
        "keys", metavar="KEY", nargs="*", help="a file such as id_ed25519.pub, the key in it, or - to read stdin"
    )
    authorize.add_argument(
        "--passkey", action="store_true", help="say where to make a passkey, and read its line from stdin"
    )
    authorize.set_defaults(act=_lazily("admin", "authorize"))

    audit = commands.add_parser("audit", help="inspect the audit log")
    verify = audit.add_subparsers(required=True, metavar="ACTION").add_parser(
        "verify", help="check that no line of the audit log was changed or removed"
    )
    _common(verify)
    verify.add_argument(
        "files", metavar="FILE", type=Path, nargs="*", help="oldest first; default: all in the state directory"
    )
    verify.set_defaults(act=_lazily("admin", "verify_audit"))

    explain = commands.add_parser(
        "explain",
        help="show whether the policy allows a request, by which rule and why",
        epilog="Exit code: 0 allowed; 1 denied; 2 wrong usage, unknown account, or unusable policy; "
        "255 any other failure.",
    )
    _common(explain)
    explain.add_argument("--user", metavar="USER", required=True, help="the account to log in to")
    how = explain.add_mutually_exclusive_group()
    how.add_argument(
        "--key", metavar="FINGERPRINT", help="the key's fingerprint, SHA256:…; default: a key that no rule names"
    )
    how.add_argument("--local", action="store_true", help="log in over the Unix socket, without a key")
    explain.add_argument("--cwd", metavar="DIR", help="the run's working directory (default: the user's home)")
    explain.add_argument(
        "--env",
        metavar="NAME[=VALUE]",
        action="append",
        default=[],
        help="an environment variable that the request sets; repeatable",
    )
    explain.add_argument("--shell", action="store_true", help="ARG is text for a shell; without ARG, a login shell")
    explain.add_argument(
        "--transfer",
        choices=("read", "write"),
        help="ARG are paths that a transfer of files reads, or one to which it writes",
    )
    explain.add_argument(
        "--forward",
        choices=("connect", "listen"),
        help="ARG are HOST:PORT or unix:PATH to which a tunnel connects, or where it listens; without ARG, what it may",
    )
    explain.add_argument("--terminal", action="store_true", help="the run has a terminal")
    explain.add_argument("--detach", action="store_true", help="the run may continue without a client")
    explain.add_argument(
        "--leave-processes", action="store_true", help="processes that the command leaves behind are not stopped"
    )
    explain.add_argument("--json", action="store_true", help="print one JSON object")
    explain.add_argument("arguments", metavar="ARG", nargs="*", help="the command, or the paths or targets, after --")
    explain.set_defaults(act=_lazily("explain", "explain"))
    return parser


def _suggestion(word: str, known: list[str]) -> str:
    close = closest(word.lower(), known)
    return f"; did you mean {close}?" if close else ""


def _descriptor(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text[:20]) > MAX_DESCRIPTOR:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a file descriptor")
    return int(text)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(parser=parser)
    parser.add_argument("--config", metavar="FILE", type=Path, help="configuration file (TOML)")
    parser.add_argument("--state-dir", metavar="DIR", help="directory for the host key and state")


def _lazily(module: str, function: str) -> Action:
    """Return an action that imports its module only when it runs."""

    def act(options: argparse.Namespace) -> int:
        action: Action = getattr(importlib.import_module(f"{__package__}.{module}"), function)
        return action(options)

    return act
