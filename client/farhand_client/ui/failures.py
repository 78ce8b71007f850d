"""Reports an error that nothing has handled, in one sentence, and chooses the exit code for it."""

from __future__ import annotations

import errno
import os
from typing import Final

from farhand_client.errors import AddressError, FarhandError
from farhand_protocol.sentences import unforeseen_sentence

from .exitcodes import EXIT_BROKEN_PIPE, EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_USAGE
from .printing import discard_buffer, print_message

DEBUG: Final = "FARHAND_DEBUG"
"""The environment variable that, if it is set, makes errors show their tracebacks on stderr."""


class UnforeseenError(FarhandError):
    """Something failed that nothing has foreseen: a limit of this machine, or a fault in Farhand.

    `run_id` is the id of the run that was under way, if any.
    """

    def __init__(self, text: str, *, run_id: str | None = None) -> None:
        super().__init__(text)
        self.run_id: Final = run_id


def report_failure(error: BaseException) -> int:
    """Print one sentence about `error`, which ends this process, and return the exit code."""
    match error:
        case SystemExit():  # argparse has printed what it has to say
            return error.code if isinstance(error.code, int) else EXIT_FAILURE if error.code else 0
        case KeyboardInterrupt():
            return EXIT_INTERRUPTED
        case BrokenPipeError(errno=errno.EPIPE):
            discard_buffer(1)
            return EXIT_BROKEN_PIPE
    show_traceback(error)
    if not isinstance(error, FarhandError) and _follows_interrupt(error):
        return EXIT_INTERRUPTED
    sentence = str(error) if isinstance(error, FarhandError) else unforeseen_sentence(error)
    # What the failed calls hold is needed to print anything after a lack of memory.
    error.__traceback__ = error.__context__ = None
    print_message(sentence)
    return EXIT_USAGE if isinstance(error, AddressError) else EXIT_FAILURE


def _follows_interrupt(error: BaseException) -> bool:
    """Return whether Ctrl-C has led to an error: Python makes another one of it inside of `__set_name__`, for example.

    While the program is loaded, an interrupt can happen there.
    """
    each: BaseException | None = error
    while each is not None and not isinstance(each, KeyboardInterrupt):
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    return each is not None


def unforeseen(error: Exception, run_id: str | None = None) -> FarhandError:
    """Return `error` if it is foreseen, and otherwise an error that says in one sentence what has happened."""
    if isinstance(error, FarhandError):
        return error
    show_traceback(error)
    return UnforeseenError(unforeseen_sentence(error), run_id=run_id)


def report_in_background(error: BaseException) -> None:
    """Print one sentence about an error that ends nothing: of a callback, or of a task for which nobody waits."""
    show_traceback(error)
    print_message(f"in the background: {unforeseen_sentence(error)}")


def debugging() -> bool:
    """Return whether the user wants to see tracebacks."""
    return bool(os.environ.get(DEBUG))


def show_traceback(error: BaseException) -> None:
    """Print the traceback of `error` on stderr if the user wants to see it."""
    if debugging():
        import traceback

        for line in "".join(traceback.format_exception(error)).splitlines():
            print_message(line)
