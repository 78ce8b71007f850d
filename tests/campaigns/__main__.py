"""Tries to make Farhand fail, at sizes that a test cannot have: `python -m tests.campaigns [--nightly] [NAME…]`.

Each campaign prints a table of figures with their targets. The command fails if a result was wrong (a false success, a
lost byte, a process that survived), not if it was slow. Run it from the project's root, as root, on a machine that has
nothing else to do: the nightly form takes hours and much of the machine.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sys
import time
from collections.abc import Sequence

from tests.support.inherited import reset_inherited_state

from . import campaigns
from .harness import Figure
from .report import PAGE, table, updated


def main(arguments: Sequence[str]) -> int:
    """Run campaigns, print their figures, and return the exit code."""
    options = _parser().parse_args(arguments)
    known = {each.name: each for each in campaigns.ALL}
    if unknown := [name for name in options.names if name not in known]:
        print(f"no campaign is called {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    form = "nightly" if options.nightly else "short"
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    results: dict[str, list[Figure]] = {}
    for name in options.names or known:
        start_time = time.monotonic()
        print(f"\n{name}: {known[name].summary} (--seed {seed})", flush=True)
        results[name] = known[name].run(nightly=options.nightly, seed=seed)
        print(f"\n{table(results[name])}\n{name}: {time.monotonic() - start_time:.0f} s", flush=True)
    if options.write:
        summaries = {each.name: each.summary for each in campaigns.ALL}
        PAGE.write_text(updated(PAGE.read_text(), results, form=form, summaries=summaries))
    failed = [
        f"{name}: {each.what}: {each.value}" for name, figures in results.items() for each in figures if each.fails
    ]
    for line in failed:
        print(f"WRONG: {line}")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.campaigns", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="only these campaigns")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--nightly", action="store_true", help="the full sizes")
    form.add_argument("--short", action="store_false", dest="nightly", help="five minutes for all of it (the default)")
    add("--seed", type=int, metavar="N", help="repeat the random choices of an earlier time")
    add("--write", action="store_true", help="replace the results in tests/campaigns/README.md")
    return parser


if __name__ == "__main__":
    os.environ.pop("SSH_AUTH_SOCK", None)
    reset_inherited_state()
    sys.exit(main(sys.argv[1:]))
