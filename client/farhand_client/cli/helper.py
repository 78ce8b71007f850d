"""`farhand helper`: shows or stops the background process that keeps connections ready."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from farhand_client.mux.ask import ask_for
from farhand_client.mux.place import helper_place
from farhand_client.mux.request import STATUS, STOP
from farhand_client.ui.exitcodes import EXIT_FAILURE
from farhand_client.ui.printing import print_json, print_output
from farhand_client.ui.text import format_span
from farhand_protocol.sentences import counted, printable

from .options import command_parser


def helper_command(arguments: Sequence[str]) -> int:
    """Run `farhand helper` and return the exit code."""
    parser = command_parser(
        "helper",
        "{status,stop}",
        "Show or stop the helper: the process of yours that keeps connections ready for later commands. It starts and "
        "ends by itself. Exit code: 0 if there is one; 255 if there is none.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("action", metavar="{status,stop}", choices=("status", "stop"), help="what to do")
    options = parser.parse_args(arguments)
    place = helper_place()
    answer = None if place is None else ask_for(place, STATUS)
    # An empty answer: it is just ending.
    report: dict[str, Any] | None = json.loads(answer) if answer else None
    if options.action == "stop" and place is not None and report is not None:
        ask_for(place, STOP)
    if options.json:
        print_json({"running": report is not None} | (report or {}))
    elif report is None:
        print_output("no helper is running" if place is not None else "no helper can run: XDG_RUNTIME_DIR is not set")
    elif options.action == "stop":
        print_output(f"stopped the helper, pid {report['pid']}")
    else:
        _show(report)
    return EXIT_FAILURE if report is None else 0


def _show(report: dict[str, Any]) -> None:
    age = format_span(report["seconds"])
    print_output(f"helper: pid {report['pid']}, running for {age}, {counted(report['served'], 'connection')} lent")
    for each in report["connections"]:
        whose = printable(f"{each['user']} on {each['target']}")
        used = f"{counted(each['callers'], 'command')}, {counted(each['channels'], 'channel')}"
        moved = f"{each['sent']} bytes sent, {each['received']} received"
        print_output(f"{whose}: up for {format_span(each['seconds'])}, {used}, {moved}")
