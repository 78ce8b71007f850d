"""Commands, options and exit codes of `farhandd`: 0 done, 1 could not be done, 2 called wrongly."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from farhand_server import __version__
from farhand_server.config import ConfigError, ServiceConfig, effective_toml, find_file, load

EPILOG: Final = "Every key of the configuration is described in farhandd.toml, which comes with the program."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments` (by default the process's) name; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.act(options)
        print(end="", flush=True)  # here, where a reader that is gone is no traceback
    except (ConfigError, CommandFailed) as error:
        print(f"farhandd: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else Python complains when it flushes at the end
        return 141  # 128 + SIGPIPE: nobody reads what we print
    except KeyboardInterrupt:
        return 130
    return code


class CommandFailed(Exception):
    """The command could not be done; the text says what, why and what to do."""


def configuration(options: argparse.Namespace) -> ServiceConfig:
    """Return the configuration that holds with these options. Raises `ConfigError`."""
    overrides: dict[str, str | list[str]] = {}
    for key in ("socket", "state_dir", "listen"):
        value = getattr(options, key, None)
        if value is not None:
            overrides[key] = value
    return load(options.config or find_file(), overrides=overrides)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="farhandd", description="The Farhand service: runs commands for clients.", epilog=EPILOG
    )
    parser.add_argument("--version", action="version", version=f"farhandd {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="run the service, and an edge where there is an address to listen on")
    _common(serve)
    serve.add_argument("--socket", metavar="PATH", help="Unix socket for clients on this machine")
    serve.add_argument(
        "--listen", metavar="HOST:PORT", action="append", help="network address to listen on; may be repeated"
    )
    serve.add_argument("--resume", metavar="N", type=int, help=argparse.SUPPRESS)  # state of the program before
    serve.add_argument("--check-resume", metavar="N", type=int, help=argparse.SUPPRESS)  # the same, only to try
    serve.set_defaults(act=_serve)

    upgrade = commands.add_parser(
        "upgrade",
        help="have the running service go on as the program that is installed now; no run ends",
        epilog="Exit code: 0 upgraded, 1 not upgraded and the reason said; the service then goes on as it was.",
    )
    _common(upgrade)
    upgrade.add_argument("--socket", metavar="PATH", help="Unix socket of the running service")
    upgrade.set_defaults(act=_upgrade)

    edge = commands.add_parser("edge", help="run an edge alone, beside a core started by `serve`")
    _common(edge)
    edge.add_argument("--listen", metavar="HOST:PORT", action="append", help="network address to listen on")
    edge.add_argument("--key", metavar="FILE", type=Path, help="private host key (by default STATE_DIR/host_key)")
    edge.add_argument("--descriptors", metavar="N,N", help=argparse.SUPPRESS)  # listening sockets from `serve`
    edge.set_defaults(act=_edge)

    check = commands.add_parser(
        "check", help="validate configuration and policy, and print the configuration that holds"
    )
    _common(check)
    check.set_defaults(act=_check)

    host_key = commands.add_parser("host-key", help="show the host key, made if there is none, and its fingerprint")
    _common(host_key)
    host_key.set_defaults(act=_host_key)

    authorize = commands.add_parser("authorize", help="let the keys in a public key file log in as this account")
    _common(authorize)
    authorize.add_argument("keyfile", metavar="KEYFILE", help="such as id_ed25519.pub; - for standard input")
    authorize.set_defaults(act=_authorize)

    audit = commands.add_parser("audit", help="look into the audit log")
    verify = audit.add_subparsers(required=True, metavar="ACTION").add_parser(
        "verify", help="check that no line of the audit log was changed or taken out"
    )
    _common(verify)
    verify.add_argument(
        "files", metavar="FILE", type=Path, nargs="*", help="the oldest first; by default all in the state directory"
    )
    verify.set_defaults(act=_verify)

    explain = commands.add_parser(
        "explain",
        help="say what the policy allows a user, by which rule and why",
        epilog="Exit code: 0 allowed, 1 denied, 2 called wrongly, or there is nothing to decide by.",
    )
    _common(explain)
    explain.add_argument("--user", metavar="USER", required=True, help="the account that is logged in to")
    how = explain.add_mutually_exclusive_group()
    how.add_argument("--key", metavar="FINGERPRINT", help="the key, as SHA256:…; by default one that no rule names")
    how.add_argument("--local", action="store_true", help="over the Unix socket, without a key")
    explain.add_argument("--cwd", metavar="DIR", help="the directory of the run (by default the user's home)")
    explain.add_argument(
        "--env", metavar="NAME[=VALUE]", action="append", default=[], help="a variable the request sets; repeatable"
    )
    explain.add_argument("--shell", action="store_true", help="ARG is text for a shell; without ARG, a login shell")
    explain.add_argument("--terminal", action="store_true", help="the run is to have a terminal")
    explain.add_argument("--detach", action="store_true", help="the run is to go on without a client")
    explain.add_argument("--json", action="store_true", help="as one JSON object")
    explain.add_argument("arguments", metavar="ARG", nargs="*", help="the command, after --")
    explain.set_defaults(act=_explain)
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", type=Path, help="configuration file (TOML)")
    parser.add_argument("--state-dir", metavar="DIR", help="where host key and state are kept")


def _serve(options: argparse.Namespace) -> int:
    from .serve import serve

    return serve(options)


def _upgrade(options: argparse.Namespace) -> int:
    from .upgrade import upgrade

    return upgrade(configuration(options))


def _edge(options: argparse.Namespace) -> int:
    from .edge import edge

    return edge(options)


def _check(options: argparse.Namespace) -> int:
    from farhand_server.policy import policy_in_force

    config = configuration(options)
    policy_in_force(config.policy)
    print(effective_toml(config), end="")
    return 0


def _explain(options: argparse.Namespace) -> int:
    from .explain import explain

    return explain(options)


def _host_key(options: argparse.Namespace) -> int:
    from .admin import host_key

    return host_key(configuration(options))


def _authorize(options: argparse.Namespace) -> int:
    from .admin import authorize

    return authorize(configuration(options), options.keyfile)


def _verify(options: argparse.Namespace) -> int:
    from .admin import verify

    return verify(configuration(options), options.files)
