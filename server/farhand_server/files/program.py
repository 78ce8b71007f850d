"""The command line that starts a transfer worker."""

from __future__ import annotations

from functools import cache
from typing import Final

from farhand_server.programs.command import own_argv

_PACKAGES: Final = ("farhand_server", "farhand_files", "farhand_protocol", "blake3", "pathspec", "re2", "pyfastcdc")
"""What a worker imports besides Python's own modules, with what these import. The last one may be missing."""


@cache
def worker_argv() -> tuple[bytes, ...]:
    """Return the arguments that execute a worker (`own_argv`)."""
    return own_argv("farhand_server.files.worker", _PACKAGES)
