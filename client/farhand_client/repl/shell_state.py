"""What lasts from one line to the next: directory, environment, how the last line ended.

Which branch a directory is on, where it belongs to a git repository: read from git's files, without git. No I/O.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from farhand_client.options import Args
from farhand_client.ui.text import printable, truncate

# Each shell keeps these for itself: they change from one shell to the next by themselves.
PRIVATE: Final = frozenset({b"PWD", b"OLDPWD", b"SHLVL", b"_"})

REPORT: Final = r"""printf '%s\0' "$PWD" && pwd -P && printf '\0' && /usr/bin/env -0"""
"""Prints directory and environment, in words that sh, bash, zsh and fish share; env -0 is coreutils' and busybox's."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a shell said of itself: `directory` as it came there, `physical` without symbolic links (pwd -P)."""

    directory: bytes
    physical: bytes
    environment: Mapping[bytes, bytes]

    @classmethod
    def parse(cls, data: bytes) -> Report:
        """Take what `REPORT` printed. Raises ValueError where it is something else."""
        directory, physical, *rest = data.split(b"\0")
        variables = (entry.partition(b"=") for entry in rest if entry)
        return cls(directory, physical.removesuffix(b"\n"), {name: value for name, _, value in variables})


def reporting(command: bytes) -> tuple[bytes, bytes]:
    """Return a script that runs `command` with a report before and, if it succeeds, after it; and what parts them."""
    marker = secrets.token_hex(16).encode()
    report = REPORT.encode()
    mark = b"printf " + marker
    return report + b"; " + mark + b"; " + command + b" && " + mark + b" && " + report, marker


@dataclass(slots=True)
class State:
    """What the next line finds."""

    directory: bytes | None = None
    """Where it runs, without symbolic links; None is the home."""
    shown: bytes | None = None
    """The same, as the user came there."""
    previous: bytes | None = None
    """Where `cd -` goes."""
    home: bytes | None = None
    shell: bytes | None = None
    """Both are known once a report came."""
    variables: dict[bytes, bytes] = field(default_factory=dict)
    """What was exported."""
    removed: set[bytes] = field(default_factory=set)
    """What was unset."""
    code: int = 0
    """How the last line ended, as an exit code."""
    ended: str = ""
    """The same for people, where there is more to say than the code: a signal's name, `timeout`."""
    took: float = 0.0
    """Seconds that the last line took."""

    @property
    def known(self) -> bool:
        """Whether a report has come."""
        return self.home is not None or self.shell is not None

    def set(self, name: bytes, value: bytes | None) -> None:
        """Export a variable, or with None unset it, whatever the service gives."""
        if value is None:
            self.variables.pop(name, None)
            self.removed.add(name)
        else:
            self.variables[name] = value
            self.removed.discard(name)

    def learn(self, report: Report) -> None:
        """Take from a report what does not change."""
        if not self.known:
            self.home, self.shell = report.environment.get(b"HOME"), report.environment.get(b"SHELL")

    def change(self, before: Report, after: Report) -> None:
        """Take over what a command changed."""
        self.learn(before)
        if before.physical != after.physical or before.directory != after.directory:
            self._move(before.directory, after)
        for name in (before.environment.keys() | after.environment.keys()) - PRIVATE:
            value = after.environment.get(name)
            if value is None or value != before.environment.get(name):
                self.set(name, value)

    def back(self, now: Report) -> None:
        """Be in the previous directory, of which `now` is."""
        self._move(self.shown or self.home or b"/", now)

    def _move(self, previous: bytes, now: Report) -> None:
        self.previous = previous
        self.directory, self.shown = now.physical, now.directory

    @property
    def environment(self) -> dict[bytes, bytes]:
        """What a run is given beside what the service gives."""
        if self.directory is None or self.shown in (None, self.directory):
            return self.variables
        # A shell believes PWD where it names its directory (XCU 2.5.3), and so keeps the way it was reached.
        return self.variables | {b"PWD": self.shown}

    def command(self, script: bytes) -> tuple[Args, bool]:
        """Return what to run for `script`, and whether that is a script for the account's shell."""
        if self.code and (b"$?" in script or b"$status" in script):
            # Every shell knows this way to set its $?, fish's $status.
            script = b"sh -c 'exit %d'; %b" % (self.code, script)
        if not self.removed or self.shell is None:
            return script, True
        unset = [part for name in sorted(self.removed) for part in (b"-u", name)]
        return [b"/usr/bin/env", *unset, self.shell, b"-c", script], False

    @property
    def where(self) -> str:
        """The directory for people, the home as `~`."""
        shown = self.shown
        if shown is None:
            return "~"
        if self.home not in (None, b"/") and (shown == self.home or shown.startswith(self.home + b"/")):
            shown = b"~" + shown[len(self.home) :]
        return shown.decode("utf-8", "backslashreplace")


LONGEST: Final = 40
"""Columns of the prompt that a branch's name takes at the most."""

BRANCH_SCRIPT: Final = r"""
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


def parse_branch(printed: bytes) -> str | None:
    """Return the name to be shown for what `BRANCH_SCRIPT` printed: a branch's, or the beginning of a commit's."""
    head = printed.decode("utf-8", "replace")
    name = head.removeprefix("ref: ").removeprefix("refs/heads/")
    if name == head:
        name = head[:7]
    # Where references are kept otherwise (reftable), HEAD names this one.
    return truncate(printable(name), LONGEST) if name and name != ".invalid" else None
