"""The terminal input of the prompt where this process acts for another one (`farhand_client.caller`).

There the kernel does not see to it that only a job in the foreground reads keys and sets modes: `farhand_client.job`
does.
"""

from __future__ import annotations

import contextlib

from prompt_toolkit.input.vt100 import Vt100Input, cooked_mode, raw_mode
from prompt_toolkit.key_binding import KeyPress

from farhand_client import caller, job


class FrontInput(Vt100Input):
    """Keys from a terminal, and its modes. Until a key is read, the front can still do the command itself."""

    def read_keys(self) -> list[KeyPress]:
        """Extends `Vt100Input`."""
        try:
            if not job.may_read_keys():
                return []
        except OSError:
            self.stdin_reader.closed = True  # as when the terminal has hung up
            return []
        keys = super().read_keys()
        if keys:
            caller.commit()
        return keys

    def raw_mode(self) -> contextlib.AbstractContextManager[None]:
        """Implements `Input`."""
        return _RawMode(self.fileno())

    def cooked_mode(self) -> contextlib.AbstractContextManager[None]:
        """Implements `Input`."""
        return _CookedMode(self.fileno())


class _RawMode(raw_mode):
    def __enter__(self) -> None:
        _wait_for_terminal()
        super().__enter__()

    def __exit__(self, *error: object) -> None:
        _wait_for_terminal()
        super().__exit__(*error)


class _CookedMode(_RawMode, cooked_mode):
    pass


def _wait_for_terminal() -> None:
    while not job.may_set_modes():  # each time it is stopped, until it is continued
        pass
