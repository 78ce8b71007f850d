"""The command line that starts a transfer worker."""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from .order import ORDER_VARIABLE

_PACKAGES: Final = ("farhand_server", "farhand_files", "farhand_protocol", "blake3", "pathspec", "re2", "pyfastcdc")
"""What a worker imports besides Python's own modules, with what these import. The last one may be missing."""

_CODE: Final = (
    b"import gc, sys; gc.disable(); sys.path += sys.argv[1:]; from farhand_server.files.worker import main; main()"
)
"""Collecting garbage while modules are loaded would take 7 % of the start; `main` turns it on again."""


@cache
def worker_argv() -> tuple[bytes, ...]:
    """Return the arguments that execute a worker with this installation's Python and packages.

    It imports nothing else, and no environment can change what it does (`-I`). It does without Python's `site`, whose
    search for packages would take longer than all the rest.
    """
    found = (find_spec(name) for name in _PACKAGES)
    directories = dict.fromkeys(Path(spec.origin).parents[1] for spec in found if spec is not None and spec.origin)
    return (os.fsencode(sys.executable), b"-I", b"-S", b"-c", _CODE, *map(bytes, directories))


def worker_environment(order_file: int) -> dict[bytes, bytes]:
    """Return the environment of a worker whose order is in the file with this descriptor. Nothing is searched for in
    the PATH, but a shell without one would bring its own."""
    return {b"PATH": os.fsencode(os.defpath), ORDER_VARIABLE.encode(): b"%d" % order_file}
