"""`farhand ps`: lists the runs of a service, as a table or as JSON."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from typing import Any

from farhand_client.client import Client
from farhand_client.ui.printing import print_json, print_output
from farhand_client.ui.runs import run_table
from farhand_protocol import messages as m

from .connection import run_with_client
from .default_host import parse_with_host
from .options import add_run_options, command_parser
from .status import outcome_report


def ps_command(arguments: Sequence[str]) -> int:
    """Run `farhand ps` and return the exit code."""
    parser = command_parser("ps", "[HOST]", "List running runs, newest first.")
    parser.add_argument("-a", "--all", action="store_true", help="also list ended runs that are still known")
    parser.add_argument(
        "--internal",
        action="store_true",
        help="also list your runs that a program made for itself, such as those of a prompt that completes words",
    )
    add_run_options(parser, reconnect=False)
    options = parse_with_host(parser, arguments)

    async def list_runs(client: Client) -> int:
        runs = await client.runs(ended=options.all)
        # Those of others are shown: nobody can hide a run from an administrator by calling it internal.
        shown = [run for run in runs if options.internal or not run.internal or run.owner != client.user]
        return _print(options, client.user, shown)

    return run_with_client(options, list_runs)


def _print(options: argparse.Namespace, user: str, runs: list[m.RunInfo]) -> int:
    if options.json:
        for run in runs:
            print_json(_report(run))
        return 0
    columns = os.get_terminal_size(1).columns if os.isatty(1) else None
    print_output("\n".join(run_table(runs, user=user, now=time.time(), columns=columns)))
    return 0


def _report(run: m.RunInfo) -> dict[str, Any]:
    values = run.model_dump(mode="json")
    outcome = None if run.outcome is None else outcome_report(run.outcome)
    return {"run_id": values.pop("id"), **values, "outcome": outcome}
