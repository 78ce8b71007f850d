"""Which branch a directory is on, where it belongs to a git repository: read from git's files, without git. No I/O."""

from __future__ import annotations

from typing import Final

from farhand_client.ui.text import printable, truncate

LONGEST: Final = 40
"""Columns of the prompt that a branch's name takes at the most."""

SCRIPT: Final = r"""
at=$(pwd -P)
until [ -e "$at/.git" ]; do
    [ -n "$at" ] || exit 0
    at=${at%/*}
done
git=$at/.git
if [ -f "$git" ]; then
    read -r word git <"$git"
    case $git in
    /*) ;;
    *) git=$at/$git ;;
    esac
fi
[ -f "$git/HEAD" ] || exit 0
read -r head <"$git/HEAD"
printf %s "$head"
"""
"""Prints what HEAD says (gitrepository-layout(5)), also of a worktree or a submodule; for any sh."""


def parse(printed: bytes) -> str | None:
    """Return the name to be shown for what `SCRIPT` printed: a branch's, or the beginning of a commit's."""
    head = printed.decode("utf-8", "replace")
    name = head.removeprefix("ref: ").removeprefix("refs/heads/")
    if name == head:
        name = head[:7]
    # Where references are kept otherwise (reftable), HEAD names this one.
    return truncate(printable(name), LONGEST) if name and name != ".invalid" else None
