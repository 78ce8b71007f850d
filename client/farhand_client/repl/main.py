"""Runs the REPL that suits stdin and stdout: a prompt on a terminal, otherwise a script.

Imports only what both need: what makes a connection takes longer to load than the prompt.
"""

from __future__ import annotations

import asyncio
import gc
import os
from typing import TYPE_CHECKING

from farhand_client.config import DEFAULT_PREDICT, PredictMode
from farhand_client.ui.exitcodes import EXIT_FAILURE
from farhand_client.ui.interrupts import SignalHandler
from farhand_client.ui.printing import print_message

from .commands import ExitRepl

if TYPE_CHECKING:
    from .host_connection import HostOpener
    from .transfer_words import ParseTransfer


async def main(
    first: str,
    opener: HostOpener,
    escape: int | None = None,
    predict: PredictMode = DEFAULT_PREDICT,
    *,
    private: bool = False,
    parse_transfer: ParseTransfer,
) -> int:
    """Run a REPL that begins on the host `first`; return the exit code of this process.

    If stdin and stdout are a terminal, lines are read with a prompt; otherwise stdin is a script. The code is that of
    the last line, that of `exit`, or 128 plus the signal that ended the REPL. `escape` is the character that begins
    keys for the REPL while a program has the terminal; `predict`, `private` and `parse_transfer` are as in
    `AttendedRepl`. Raises what the first connection raises.
    """
    # What is imported from here on is kept. To look for garbage in it would take a tenth of the time until the prompt.
    gc.disable()
    with SignalHandler() as signals:
        try:
            if is_attended():
                from .attended import AttendedRepl

                await AttendedRepl(
                    first, opener, signals, escape, predict, private=private, parse_transfer=parse_transfer
                ).run()
            from .script import run_script

            return await run_script(first, opener, signals)
        except ExitRepl as leaving:
            return leaving.code
        except OSError as error:
            print_message(f"cannot read stdin, or the terminal is gone: {error.strerror}")
            return EXIT_FAILURE
        except asyncio.CancelledError:
            if signals.ended_by is None:
                raise
            return 128 + signals.ended_by


def is_attended() -> bool:
    """Return whether a person types here and sees the output: both stdin and stdout are terminals."""
    return os.isatty(0) and os.isatty(1)
