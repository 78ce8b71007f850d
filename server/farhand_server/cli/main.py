"""The one place where `farhandd` turns whatever has happened into one sentence and an exit code.

Commands handle what they foresee. Everything else comes here: a failure that says what to do, a limit of the machine,
or a fault of ours. `FARHAND_DEBUG=1` shows the traceback as well.

Only what the interpreter has loaded anyway is imported at the top: importing may itself fail, for lack of memory or
descriptors.
"""

from __future__ import annotations

import os
import sys

_UNFORESEEN = 255
"""`report.UNFORESEEN`, for when even that cannot be imported."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command given by `arguments` (default: the process's own), and return the exit code."""
    try:
        if arguments is None:  # otherwise this is not a process of its own
            if sys.argv[1:2] == ["stdio"]:
                from .stdio import join, plain_socket

                plain, path = plain_socket(sys.argv[1:])
                if plain:  # all else that is imported below would take twice the time
                    return join(path)
            from .process import prepare_process

            prepare_process()
        from .commands import run_command

        code = run_command(arguments)
    except BaseException as error:  # noqa: BLE001  # whatever it is, it is reported here
        code = _failed(error)
    try:
        _finish()
    except BaseException as error:  # noqa: BLE001  # for instance, stdout is full
        return _failed(error)
    return code


def _failed(error: BaseException) -> int:
    """Report an error that ends the process, and return the exit code."""
    try:
        from .report import report_failure

        return report_failure(error)
    except BaseException:  # noqa: BLE001  # the report itself failed: there may be no memory for it
        if isinstance(error, SystemExit) and isinstance(error.code, int):
            return error.code
        _write_plainly(error)
        return _UNFORESEEN


def _finish() -> None:
    """Write what stdout and stderr still hold. Python would do so at exit, and print a traceback if it fails."""
    from .report import flush_streams

    flush_streams()


def _write_plainly(error: BaseException) -> None:
    try:
        os.write(2, f"farhandd: {type(error).__name__}: {error}\n".encode("ascii", "backslashreplace"))
    except BaseException:  # noqa: BLE001  # nobody can be told
        return
