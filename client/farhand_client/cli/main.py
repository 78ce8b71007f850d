"""The one place where `farhand` turns whatever has happened into one sentence and an exit code.

Commands handle what they foresee. Everything else comes here: an error that says what to do (`FarhandError`), a limit
of the machine, or a fault of ours. None of them may look like the remote command's own exit code, so the code is never
1. `FARHAND_DEBUG=1` shows the traceback as well.

Only what the interpreter has loaded anyway is imported at the top: importing may itself fail, for lack of memory or
descriptors.
"""

from __future__ import annotations

import os
import sys

_FAILURE = 255
"""`exitcodes.EXIT_FAILURE`, for when even that cannot be imported."""


def main(argv: list[str] | None = None) -> int:
    """Run the command that `argv` (default: `sys.argv[1:]`) names and return the exit code of the process."""
    try:
        if argv is None:  # otherwise this is not a process of its own
            from farhand_client.ui.process import prepare_process

            prepare_process()
        from .commands import run_command

        code = run_command(list(sys.argv[1:] if argv is None else argv))
    except BaseException as error:  # noqa: BLE001  # whatever it is, it is reported here
        code = _failed(error)
    try:
        return _finished(code)
    except BaseException as error:  # noqa: BLE001  # for instance, stdout is full
        return _failed(error)


def _failed(error: BaseException) -> int:
    """Report an error that ends the process, and return the exit code."""
    try:
        from farhand_client.ui.failures import report_failure

        return report_failure(error)
    except BaseException:  # noqa: BLE001  # the report itself failed: there may be no memory for it
        if isinstance(error, SystemExit) and isinstance(error.code, int):
            return error.code
        _write_plainly(error)
        return _FAILURE


def _finished(code: int) -> int:
    """Write what stdout and stderr still hold. Python would do so at exit, and print a traceback if it fails."""
    from farhand_client.ui.printing import flush_messages, flush_output

    flush_messages()
    flush_output()
    return code


def _write_plainly(error: BaseException) -> None:
    try:
        os.write(2, f"farhand: {type(error).__name__}: {error}\n".encode("ascii", "backslashreplace"))
    except BaseException:  # noqa: BLE001  # nobody can be told
        return
