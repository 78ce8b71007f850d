"""`farhand wait`: waits until runs end, or for something in their output, whichever comes first."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Sequence
from typing import Any, Final

from farhand_client.client import Client
from farhand_client.errors import FarhandError
from farhand_client.ui.exitcodes import EXIT_NO_MATCH, EXIT_TIMED_OUT, outcome_exit_code
from farhand_client.ui.left import OPTION_OF_RUN, stopped_sentence
from farhand_client.ui.printing import print_json, print_message
from farhand_protocol import messages as m

from .connection import for_each_run, report_error, run_with_client
from .default_host import parse_with_host
from .options import add_run_id, add_run_options, command_parser
from .status import end_report
from .values import positive_duration, size

_DESCRIPTION: Final = """\
Wait until runs end, or for something in their output.

  farhand wait web 01a1fc79-3b2c
  farhand wait --pattern 'port \\d+$' --timeout 10 web 01a1fc79-3b2c
"""

_EPILOG: Final = """\
Patterns use RE2 syntax; ^ and $ match at line ends. Only output that is still kept can match.

Exit code: the run's, as in farhand run; with several runs that of the last one, as with a shell's wait. With
--pattern or --idle: 0 if the output matched or paused, 1 if the run ended first. 124 if --timeout expired first.
"""


def wait_command(arguments: Sequence[str]) -> int:
    """Run `farhand wait` and return the exit code."""
    parser = command_parser("wait", "[HOST] ID…", _DESCRIPTION, _EPILOG)
    add = parser.add_argument
    add("--timeout", metavar="TIME", type=positive_duration, help="stop waiting after TIME; the run keeps running")
    add(
        "--pattern",
        metavar="RE",
        type=_pattern,
        action="append",
        default=[],
        help="wait until the output matches (repeatable: until any pattern matches)",
    )
    add("--idle", metavar="TIME", type=positive_duration, help="wait until there has been no output for TIME")
    add("--stderr", action="store_true", help="look at stderr instead of stdout")
    add("--from", metavar="N", dest="begin", type=size, default=0, help="look from byte N on")
    add_run_options(parser)
    add_run_id(parser, several=True)
    options = parse_with_host(parser, arguments)
    if not options.pattern and options.idle is None and (options.stderr or options.begin):
        parser.error("--stderr and --from can only be used with --pattern or --idle")

    async def wait(client: Client) -> int:
        return (await for_each_run(client, options, _wait_for_run))[-1]

    return run_with_client(options, wait)


async def _wait_for_run(client: Client, full_id: str, options: argparse.Namespace) -> int:
    try:
        async with asyncio.timeout(options.timeout):
            if options.pattern or options.idle is not None:
                report, code = await _wait_for_output(client, full_id, options)
            else:
                result = await client.wait(full_id)
                report, code = end_report(result), outcome_exit_code(result.outcome)
                if not options.json and (sentence := stopped_sentence(result, OPTION_OF_RUN)) is not None:
                    print_message(f"run {full_id}: {sentence}")
    except TimeoutError:
        report, code = {"run_id": full_id, "reason": "timeout"}, EXIT_TIMED_OUT
    except FarhandError as error:
        return report_error(options, error)
    if options.json:
        print_json(report)
    return code


async def _wait_for_output(client: Client, full_id: str, options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Wait for whichever pattern matches first, or without patterns for silence; return a report and the exit code."""
    stream: m.Output = "stderr" if options.stderr else "stdout"
    patterns: list[bytes | None] = options.pattern or [None]
    waits = {
        asyncio.ensure_future(
            client.wait_for(full_id, pattern, stream=stream, offset=options.begin, idle=options.idle)
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
    report = {"run_id": full_id, "stream": stream, **matched.model_dump(mode="json", exclude={"type"})}
    if matched.reason == "pattern" and pattern is not None:
        report["pattern"] = os.fsdecode(pattern)
    return report, EXIT_NO_MATCH if matched.reason == "ended" else 0


def _pattern(text: str) -> bytes:
    pattern = os.fsencode(text)
    if len(pattern) > m.MAX_PATTERN:
        raise argparse.ArgumentTypeError(f"a pattern of {len(pattern)} bytes is too long (maximum {m.MAX_PATTERN})")
    return pattern
