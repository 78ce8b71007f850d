"""The keyword arguments of `subprocess.Popen` and `subprocess.run` that a run on another machine cannot have.

Each is accepted with the values for which nothing would be different, such as its default: a wrapper may pass them all.
With any other value it is refused, and the error names what does the job here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple


class Refusal(NamedTuple):
    """A keyword argument that is refused with an explanation, unless `harmless` returns True for its value."""

    harmless: Callable[[Any], bool]
    instead: str


def _is_none(value: object) -> bool:
    return value is None


def _is_false(value: object) -> bool:
    return not value


def _is_true(value: object) -> bool:
    return bool(value)


def _is_int(value: object) -> bool:
    return isinstance(value, int)


def _is_default(value: object) -> bool:
    return value == -1


POPEN: Final[Mapping[str, Refusal]] = {
    "bufsize": Refusal(_is_int, "it is a number, and has no effect: output is delivered as it arrives"),
    "executable": Refusal(
        _is_none, "the program is the first of args; for another shell, pass ['bash', '-c', script] as args"
    ),
    "preexec_fn": Refusal(
        _is_none, "no Python runs there before the program; use cwd, env and limits, or a script with shell=True"
    ),
    "close_fds": Refusal(_is_true, "a program never gets other descriptors than stdin, stdout and stderr"),
    "startupinfo": Refusal(_is_none, "it is for Windows"),
    "creationflags": Refusal(_is_false, "it is for Windows"),
    "restore_signals": Refusal(_is_true, "a program always starts with the default actions of signals"),
    "start_new_session": Refusal(lambda value: isinstance(value, bool), "each run always has a session of its own"),
    "pass_fds": Refusal(
        lambda value: value is not None and not [*value],
        "descriptors cannot be passed to another machine; use stdin, stdout and stderr, or files that are there",
    ),
    "user": Refusal(_is_none, "a run belongs to the account that logged in; connect as that user: connect('ann@host')"),
    "group": Refusal(_is_none, "a run has the groups of the account that logged in; use a script: sg GROUP -c …"),
    "extra_groups": Refusal(_is_none, "a run has the groups of the account that logged in"),
    "umask": Refusal(_is_default, "set it in a script: shell=True and 'umask 027; exec PROGRAM …' as args"),
    "pipesize": Refusal(_is_default, "the service chooses the sizes of its pipes"),
    "process_group": Refusal(lambda value: value is None or value == 0, "each run has a process group of its own"),
}
"""Refused by `Client.run`, `Client.start` and `Client.shell`."""

_BYTES: Final = (
    "the streams of a run are bytes, as those of asyncio.create_subprocess_exec: decode what is read, encode what is "
    "written; or use run, which has text, encoding and errors"
)

START: Final[Mapping[str, Refusal]] = {
    **POPEN,
    "text": Refusal(_is_false, _BYTES),
    "encoding": Refusal(_is_none, _BYTES),
    "errors": Refusal(_is_none, _BYTES),
    "universal_newlines": Refusal(_is_false, _BYTES),
    "input": Refusal(_is_none, "pass stdin=PIPE, then write it to run.stdin and close that; or use run"),
    "check": Refusal(_is_false, "start does not wait for the end; look at (await run.wait()).returncode, or use run"),
    "capture_output": Refusal(
        lambda value: value is None or bool(value), "output is read from run.stdout and run.stderr; or use run"
    ),
    "max_output": Refusal(_is_none, "output is read from run.stdout and run.stderr, as it arrives; or use run"),
}
"""Refused by `Client.start` and `Client.shell`."""


def without_harmless(keywords: Mapping[str, Any], refusals: Mapping[str, Refusal]) -> dict[str, Any]:
    """Return `keywords` without those in `refusals`, all of which must be harmless. Raises TypeError."""
    left = {}
    for name, value in keywords.items():
        refusal = refusals.get(name)
        if refusal is None:
            left[name] = value
        elif not _is_harmless(refusal, value):
            where = "on another machine" if name in POPEN else "here"
            raise TypeError(f"{name}={value!r} is not possible {where}: {refusal.instead}")
    return left


def _is_harmless(refusal: Refusal, value: Any) -> bool:
    try:
        return refusal.harmless(value)
    except TypeError:
        return False
