"""The state of one host that lasts from line to line: directory, environment, and how the last line ended.

A remote shell reports its directory and environment with `REPORT_SCRIPT`, and the branch of a git repository with
`BRANCH_SCRIPT`, which reads git's files and does not need git. No I/O.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from farhand_client.options import Args
from farhand_client.ui.text import truncate
from farhand_protocol.sentences import printable

if TYPE_CHECKING:
    from .state_keeper import StateReport

SHELL_OWNED: Final = frozenset({b"PWD", b"OLDPWD", b"SHLVL", b"_"})
"""Variables that every shell sets itself: they differ from one shell to the next without a command."""

PER_RUN: Final = SHELL_OWNED | {b"TERM", b"COLUMNS", b"LINES", b"FARHAND_RUN_ID"}
"""The same, and what each run gets anew."""

REPORT_SCRIPT: Final = r"""printf '%s\0' "$PWD" && pwd -P && printf '\0' && /usr/bin/env -0"""
"""Prints directory and environment, in syntax that sh, bash, zsh and fish share; coreutils and busybox have env -0."""


@dataclass(frozen=True, slots=True)
class ShellReport:
    """What a shell reports: its `directory` as it was reached, `physical` without symbolic links (pwd -P)."""

    directory: bytes
    physical: bytes
    environment: Mapping[bytes, bytes]

    @classmethod
    def parse(cls, data: bytes) -> ShellReport:
        """Parse the output of `REPORT_SCRIPT`. Raises ValueError if it is something else."""
        directory, physical, *rest = data.split(b"\0")
        variables = (entry.partition(b"=") for entry in rest if entry)
        return cls(directory, physical.removesuffix(b"\n"), {name: value for name, _, value in variables})


def reporting_script(command: bytes | None = None) -> tuple[bytes, bytes]:
    """Return a script that reports, runs `command` if any, and reports again if it succeeds; and a marker.

    The marker is printed before the first report, since startup files of the shell may print something, and on both
    sides of the output of `command`.
    """
    marker = secrets.token_hex(16).encode()
    mark = b"printf " + marker
    report = mark + b" && " + REPORT_SCRIPT.encode()
    if command is None:
        return report, marker
    return report + b"; " + mark + b"; " + command + b" && " + report, marker


@dataclass(slots=True)
class ShellState:
    """The state in which the next line runs."""

    directory: bytes | None = None
    """Where it runs, without symbolic links; None is the home directory."""
    logical_directory: bytes | None = None
    """The same as the user reached it, perhaps through symbolic links."""
    previous: bytes | None = None
    """The directory for `cd -`."""
    home: bytes | None = None
    shell: bytes | None = None
    """The account's home directory and shell; both None until a report has arrived."""
    variables: dict[bytes, bytes] = field(default_factory=dict)
    """What was exported, on top of the environment that the service provides."""
    removed: set[bytes] = field(default_factory=set)
    """What was unset of that environment."""
    exported: Mapping[bytes, bytes] | None = None
    """All that is exported, where the shell's own state is carried from line to line; otherwise None."""
    first_exported: Mapping[bytes, bytes] | None = None
    """The same before the first line."""
    exit_trap: bool = False
    """Whether the user has set a trap for the exit of the shell."""
    code: int = 0
    """The exit code of the last line."""
    outcome: str = ""
    """The same for people where a word says more than the code: a signal's name, `timeout`, `stopped`, `lost`."""
    duration: float = 0.0
    """Seconds that the last line took."""

    @property
    def account_known(self) -> bool:
        """Whether a report has arrived, so that home directory and shell are known."""
        return self.home is not None or self.shell is not None

    def set_outcome(self, code: int, outcome: str = "", *, duration: float | None = None) -> None:
        """Record how the last line ended and, unless None, how many seconds it took."""
        self.code, self.outcome = code, outcome
        if duration is not None:
            self.duration = duration

    def set_variable(self, name: bytes, value: bytes | None) -> None:
        """Export a variable, or with None unset it, even if the service provides it."""
        if value is None:
            self.variables.pop(name, None)
            self.removed.add(name)
        else:
            self.variables[name] = value
            self.removed.discard(name)

    def learn_account(self, report: ShellReport) -> None:
        """Take home directory and shell, which do not change, from the first report."""
        if not self.account_known:
            self.home, self.shell = report.environment.get(b"HOME"), report.environment.get(b"SHELL")

    def apply_changes(self, before: ShellReport, after: ShellReport) -> None:
        """Adopt what a command changed between two reports."""
        self.learn_account(before)
        if before.physical != after.physical or before.directory != after.directory:
            self._move(before.directory, after)
        for name in (before.environment.keys() | after.environment.keys()) - SHELL_OWNED:
            value = after.environment.get(name)
            if value is None or value != before.environment.get(name):
                self.set_variable(name, value)

    def adopt(self, report: StateReport) -> None:
        """Adopt what the shell whose state is carried has reported."""
        self.directory, self.logical_directory, self.exit_trap = report.physical, report.directory, report.exit_trap
        if report.environment is None:
            return
        environment = {name: value for name, value in report.environment.items() if name not in PER_RUN}
        self.exported = environment
        if self.first_exported is None:
            self.first_exported = environment
            self.home, self.shell = environment.get(b"HOME"), environment.get(b"SHELL")
        before = self.first_exported
        self.variables = {name: value for name, value in environment.items() if before.get(name) != value}
        self.removed = set(before.keys() - environment.keys())

    def enter_previous(self, report: ShellReport) -> None:
        """Move to the previous directory, from which `report` is."""
        self._move(self.logical_directory or self.home or b"/", report)

    def _move(self, previous: bytes, report: ShellReport) -> None:
        self.previous = previous
        self.directory, self.logical_directory = report.physical, report.directory

    @property
    def environment(self) -> dict[bytes, bytes]:
        """The variables to set for a run, on top of those that the service provides."""
        logical = self.logical_directory
        variables = self.variables if self.exported is None else dict(self.exported)
        if self.directory is None or logical is None or logical == self.directory:
            return variables
        # A shell accepts PWD if it names its directory (XCU 2.5.3), and so keeps the path by which it was reached.
        return variables | {b"PWD": logical}

    def command(self, script: bytes) -> tuple[Args, bool]:
        """Return what to run for `script`, and whether that is a script for the account's shell (else an argv)."""
        if self.code and (b"$?" in script or b"$status" in script):
            # This sets $? in every shell, and $status in fish.
            script = b"sh -c 'exit %d'; %b" % (self.code, script)
        if not self.removed or self.shell is None:
            return script, True
        unset = [part for name in sorted(self.removed) for part in (b"-u", name)]
        return [b"/usr/bin/env", *unset, self.shell, b"-c", script], False

    @property
    def shown_directory(self) -> str:
        """The directory for people, with `~` for the home directory."""
        shown = self.logical_directory
        if shown is None:
            return "~"
        if self.home not in (None, b"/") and (shown == self.home or shown.startswith(self.home + b"/")):
            shown = b"~" + shown[len(self.home) :]
        return shown.decode("utf-8", "backslashreplace")


MAX_BRANCH_COLUMNS: Final = 40
"""Columns of the prompt for the name of a branch; a longer one is truncated."""

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
"""Prints the contents of HEAD (gitrepository-layout(5)), also in a worktree or a submodule; for any sh."""


def parse_branch(printed: bytes) -> str | None:
    """Parse the output of `BRANCH_SCRIPT`: return the branch or an abbreviated commit for the prompt, or None."""
    head = printed.decode("utf-8", "replace")
    name = head.removeprefix("ref: ").removeprefix("refs/heads/")
    if name == head:
        name = head[:7]
    # With another format of references (reftable), HEAD contains refs/heads/.invalid.
    return truncate(printable(name), MAX_BRANCH_COLUMNS) if name and name != ".invalid" else None
