"""`farhand wait`: the end of runs, or something in their output, whichever comes first."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Sequence
from typing import Any, Final

from farhand_client.client import Client
from farhand_client.errors import FarhandError
from farhand_client.ui.exitcodes import EXIT_TIMED_OUT, outcome_exit_code
from farhand_client.ui.printing import print_json
from farhand_protocol import messages as m

from .connection import for_each_run, report_error, run_with_client
from .options import add_run_options, command_parser
from .status import end_report
from .values import positive_seconds, run_id, size

NO_MATCH: Final = 1
"""As grep(1) has it."""

EPILOG = """\
Exit code: the run's, as farhand run has it; of several the last one's, as wait in a shell. With --pattern or --idle: 0
where that came, 1 where the run ended before. 124 where --timeout was up first. Patterns have RE2's syntax, ^ and $ are
the ends of lines; only output that is still kept can match.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    given = command_parser("wait", "HOST ID…", "Wait for the end of runs, or for something in their output.", EPILOG)
    add = given.add_argument
    add("--timeout", metavar="S", type=positive_seconds, help="wait no longer than so many seconds; the run goes on")
    add(
        "--pattern",
        metavar="RE",
        type=_pattern,
        action="append",
        default=[],
        help="wait for a match in the output (may be given again: for any of them)",
    )
    add("--idle", metavar="S", type=positive_seconds, help="wait for so many seconds without output")
    add("--stderr", action="store_true", help="look at stderr; else at stdout")
    add("--from", metavar="N", dest="begin", type=size, default=0, help="look from byte N on")
    add_run_options(given)
    add("ids", metavar="ID", type=run_id, nargs="+")
    options = given.parse_args(arguments)
    if not options.pattern and options.idle is None and (options.stderr or options.begin):
        given.error("--stderr and --from are about --pattern and --idle")
    return run_with_client(options, lambda client: _all(client, options))


async def _all(client: Client, options: argparse.Namespace) -> int:
    return (await for_each_run(client, options, _one))[-1]


async def _one(client: Client, one: str, options: argparse.Namespace) -> int:
    try:
        async with asyncio.timeout(options.timeout):
            if options.pattern or options.idle is not None:
                told, code = await _matched(client, one, options)
            else:
                result = await client.wait(one)
                told, code = end_report(result), outcome_exit_code(result.outcome)
    except TimeoutError:
        told, code = {"run_id": one, "reason": "timeout"}, EXIT_TIMED_OUT
    except FarhandError as error:
        return report_error(options, error)
    if options.json:
        print_json(told)
    return code


async def _matched(client: Client, one: str, options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Wait for whichever pattern matches first; with none of them, for silence."""
    stream: m.Output = "stderr" if options.stderr else "stdout"
    patterns: list[bytes | None] = options.pattern or [None]
    waits = {
        asyncio.ensure_future(
            client.wait_for(one, pattern, stream=stream, offset=options.begin, idle=options.idle)
        ): pattern
        for pattern in patterns
    }
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    for wait in done:
        wait.result()
    first = min(done, key=lambda wait: (wait.result().reason != "pattern", wait.result().start))
    matched, pattern = first.result(), waits[first]
    told = {"run_id": one, "stream": stream, **matched.model_dump(mode="json", exclude={"type"})}
    if matched.reason == "pattern" and pattern is not None:
        told["pattern"] = os.fsdecode(pattern)
    return told, NO_MATCH if matched.reason == "ended" else 0


def _pattern(text: str) -> bytes:
    pattern = os.fsencode(text)
    if len(pattern) > m.MAX_PATTERN:
        raise argparse.ArgumentTypeError(f"a pattern of {len(pattern)} bytes; {m.MAX_PATTERN} are possible")
    return pattern
