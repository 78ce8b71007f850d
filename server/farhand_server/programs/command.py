"""The command line that starts one of the service's own programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from .order_file import ORDER_VARIABLE


def own_argv(module: str, packages: Iterable[str], before: str = "") -> tuple[bytes, ...]:
    """Return the arguments that execute `main` of a module with this installation's Python and these packages, of which
    some may be missing. `before` is a statement that is executed first.

    It imports nothing else, and no environment can change what it does (`-I`). It does without Python's `site`, whose
    search for packages would take longer than all the rest. Collecting garbage while modules are loaded would take 7 %
    of the start; `main` turns it on again.
    """
    found = (find_spec(name) for name in packages)
    directories = dict.fromkeys(Path(spec.origin).parents[1] for spec in found if spec is not None and spec.origin)
    code = f"import gc, sys; gc.disable(); sys.path += sys.argv[1:]; {before}from {module} import main; main()"
    return (os.fsencode(sys.executable), b"-I", b"-S", b"-c", code.encode(), *map(bytes, directories))


def own_environment(order_file: int) -> dict[bytes, bytes]:
    """Return the environment of a program whose order is in the file with this descriptor. Nothing is searched for in
    the PATH, but a shell without one would bring its own."""
    return {b"PATH": os.fsencode(os.defpath), ORDER_VARIABLE.encode(): b"%d" % order_file}
