"""`farhand up`: installs and starts Farhand on another machine over ssh, or takes it back."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from farhand_client.caller import before_asking, leave_state
from farhand_client.directories import DEFAULT_PORT
from farhand_client.ui.printing import print_json, print_output
from farhand_protocol.sentences import printable_lines, shell_quoted

from .options import command_parser


def up_command(arguments: Sequence[str]) -> int:
    """Run `farhand up` and return the exit code."""
    parser = _parser()
    options = parser.parse_args(list(arguments))
    before_asking()  # ssh may ask on the terminal
    leave_state()
    from farhand_client.up.raising import UpRequest, raise_host
    from farhand_client.up.taking_down import take_down

    request = UpRequest(
        host=options.host,
        name=options.name,
        port=options.port,
        listen=tuple(options.listen),
        python=options.python,
        system=options.system,
        identities=tuple(path.expanduser() for path in options.identity),
        dry_run=options.dry_run,
        force=options.force,
    )

    def show(step: str, text: str, *, changed: bool, **values: Any) -> None:
        if options.json:
            print_json({"step": step, "text": text, "changed": changed, **values})
        else:
            print_output(printable_lines(f"{step + ':':11}{text}"))

    if options.remove:
        take_down(request, show)
        return 0
    name = raise_host(request, show)
    if not options.dry_run and not options.json:
        print_output(f"{'try it:':11}{shell_quoted(['farhand', 'run', name, '--', 'hostname'])}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "up",
        "[USER@]HOST",
        "Install and start Farhand on another machine over ssh, without root, and give it a name here. Your ssh "
        "configuration, agent and questions are those of ssh itself. What is there already stays as it is, or becomes "
        "this version. Needs Python 3.11 or later there, and no network: the packages are sent from here.",
        "  farhand up deploy@web.example.org\n  farhand run web.example.org -- hostname",
    )
    parser.add_argument("--name", metavar="NAME", help="its name in config.toml (default: HOST)")
    parser.add_argument(
        "--port", metavar="N", type=_port, default=DEFAULT_PORT, help=f"port to listen on (default {DEFAULT_PORT})"
    )
    parser.add_argument(
        "--listen",
        metavar="ADDRESS",
        action="append",
        default=[],
        type=_listen_host,
        help="IP address to listen on, repeatable; none: only through ssh (default: all addresses, as sshd)",
    )
    parser.add_argument("--python", metavar="PROGRAM", help="Python to use there (default: the first that fits)")
    parser.add_argument(
        "--system", action="store_true", help="install a service of the system, for all users, by sudo (root: always)"
    )
    parser.add_argument(
        "-I",
        "--identity",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="authorize and use this key only (repeatable); default: the keys of the ssh-agent and the usual files",
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="show the steps and change nothing")
    parser.add_argument("--remove", action="store_true", help="stop the service and remove all that was made")
    parser.add_argument(
        "--force", action="store_true", help="stop runs that are in the way; remove a host that is gone from here"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, one object per step")
    parser.add_argument(
        "host", metavar="[USER@]HOST", help="as for ssh, or the name in config.toml that farhand up has given"
    )
    return parser


def _port(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 5 or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number from 1 to 65535")
    return int(text)


def _listen_host(text: str) -> str:
    from ipaddress import ip_address

    from farhand_client.up.raising import NO_LISTENING

    if text == NO_LISTENING:
        return text
    try:
        return str(ip_address(text.strip("[]")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an IP address; {NO_LISTENING} listens on none") from None
