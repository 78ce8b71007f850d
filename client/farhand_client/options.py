"""`RunOptions`, the options of a run, and the message that requests it.

`RunOptions` is the one record that carries the options of a run from their source (keyword arguments of the API,
options of the command line, a line of the REPL) to the wire. `RunOptions.of` checks and converts each value once;
`RunOptions.request` returns the message. The `TypedDict`s name the keyword arguments that `Client.run`, `Client.start`
and `Client.shell` accept, so that type checkers and editors know them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias, TypedDict, Unpack, cast

from farhand_protocol import messages as m
from farhand_protocol.limits import MIN_SPOOL_SIZE, TERMINAL_WINDOW
from farhand_protocol.sentences import closest

from .arguments import as_bytes, as_choice, as_count, as_instance, as_run_id, as_seconds, shortened, type_error
from .ids import new_key, uuid7
from .popen_keywords import POPEN, Refusal, without_harmless

# The numbers of `subprocess`; as literals, so that type checkers know that a run with stdin=PIPE has a stdin.
PIPE: Final = -1
STDOUT: Final = -2
DEVNULL: Final = -3

DEFAULT_KILL_AFTER: Final = 5.0
"""Seconds between TERM and KILL when a command is stopped."""

Argument: TypeAlias = "str | bytes | os.PathLike[str] | os.PathLike[bytes]"
Args: TypeAlias = "Argument | Sequence[Argument]"
Environment: TypeAlias = "Mapping[str, str] | Mapping[bytes, bytes]"
OnDisconnect: TypeAlias = Literal["kill", "keep"]
ResourceBounds: TypeAlias = "m.Bounds | Mapping[str, Any]"
"""What a run may use: `memory`, `file_size`, `output` (bytes), `cpu` (seconds), `processes`, `files` (counts)."""


class CommonKeywords(TypedDict, total=False):
    """Keyword arguments of all methods that start a run; `RunOptions` describes them."""

    cwd: Argument | None
    env: Environment | None
    run_id: str | None
    on_disconnect: OnDisconnect
    grace: float | None
    spool: int | None
    leave_processes: bool


class CommandKeywords(CommonKeywords, total=False):
    """Keyword arguments of `Client.run` and `Client.start`; `RunOptions` describes them."""

    shell: bool
    timeout: float | None
    idle_timeout: float | None
    kill_after: float | None
    limits: ResourceBounds | None


class RunKeywords(CommandKeywords, total=False):
    """The options among the keyword arguments of `Client.run`; `RunOptions` describes them."""

    merge_stderr: bool


class StartKeywords(RunKeywords, total=False):
    """Keyword arguments of `Client.start`; `RunOptions` describes them."""

    terminal: m.TerminalRequest | None
    record_input: bool
    internal: bool
    ssh_variables: bool
    prelude: Argument | None


class ShellKeywords(CommonKeywords, total=False):
    """Keyword arguments of `Client.shell`; `RunOptions` describes them."""

    record_input: bool


RUN_KEYWORDS: Final = frozenset(RunKeywords.__annotations__)
START_KEYWORDS: Final = frozenset(StartKeywords.__annotations__)
SHELL_KEYWORDS: Final = frozenset(ShellKeywords.__annotations__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a command is to run. Make one with `RunOptions.of`, which checks and converts the values."""

    shell: bool = False
    """Whether the command is a script for the account's shell, and not a program with its arguments."""
    prelude: bytes | None = None
    """A script that the shell runs with the script proper as its argument; only for services with that feature."""
    cwd: bytes | None = None
    """The working directory, relative to the account's home; None is the home."""
    env: Mapping[bytes, bytes] = field(default_factory=lambda: MappingProxyType({}))
    """Variables that are added to the clean environment which the service provides."""
    timeout: float | None = None
    """Seconds after which the service stops the run."""
    idle_timeout: float | None = None
    """Seconds without output after which the service stops the run."""
    kill_after: float | None = DEFAULT_KILL_AFTER
    """Seconds between TERM and KILL when the run is stopped; None leaves that to the service."""
    merge_stderr: bool = False
    """Whether stderr is written to stdout, in the order in which the program writes."""
    run_id: str | None = None
    """The run's id, a UUID; None makes a new one for each request."""
    on_disconnect: OnDisconnect = "kill"
    """Whether the run is stopped or kept when its client has been gone for `grace` seconds."""
    grace: float | None = None
    """The grace period in seconds; None leaves it to the service."""
    limits: m.Bounds | None = None
    """What the run may use."""
    spool: int | None = None
    """Bytes of each output stream that are kept in a file, instead of making the program wait for a slow reader."""
    leave_processes: bool = False
    """Whether processes that the program leaves behind when it ends on its own continue to run."""
    internal: bool = False
    """Whether a program makes the run for itself: `farhand ps` does not list it for the same user."""
    ssh_variables: bool = False
    """Whether the program gets SSH_CLIENT and SSH_CONNECTION, as from sshd(8), where the service knows how."""
    terminal: m.TerminalRequest | None = None
    """The terminal on which the program runs; None is no terminal."""
    record_input: bool = False
    """Whether what is typed at the terminal is recorded too."""

    def __repr__(self) -> str:
        """Show what differs from the defaults. Of variables only the names: their values may be secret."""
        shown = {each.name: getattr(self, each.name) for each in fields(self)}
        changed = {name: value for name, value in shown.items() if value != getattr(_DEFAULTS, name)}
        if self.env:
            changed["env"] = [os.fsdecode(name) for name in self.env]
        return f"RunOptions({', '.join(f'{name}={shortened(value)}' for name, value in changed.items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        # A MappingProxyType can be neither pickled nor copied.
        values = {each.name: getattr(self, each.name) for each in fields(self)} | {"env": dict(self.env)}
        return _restored, (values,)

    @classmethod
    def of(cls, **keywords: Unpack[StartKeywords]) -> RunOptions:
        """Return the options given as keyword arguments, checked and converted.

        str become bytes as `os.fsencode` converts them, `limits` may be a mapping. Raises TypeError and ValueError for
        what no service would accept.
        """
        return cls().changed(**keywords)

    def changed(self, **keywords: Unpack[StartKeywords]) -> RunOptions:
        """Return a copy with some options changed. Raises as `of`."""
        _check_names(keywords, START_KEYWORDS)
        return replace(self, **{name: _CONVERTERS[name](value) for name, value in keywords.items()})

    def request(self, args: Args, *, stdin: bool) -> m.RunRequest:
        """Return the message that requests a run of `args`.

        With `stdin` the client feeds the run's stdin; a run on a terminal always has one. Raises TypeError and
        ValueError for arguments that no service would accept.
        """
        if args is None:
            raise TypeError("args is None; it must be the program and its arguments (for a login shell, use shell())")
        return self._request(args, stdin=stdin)

    def login_request(self) -> m.RunRequest:
        """Return the message that requests a login shell, with a stdin. Raises ValueError."""
        return self._request(None, stdin=True)

    def _request(self, args: Args | None, *, stdin: bool) -> m.RunRequest:
        login = args is None
        on_terminal = self.terminal is not None
        return m.RunRequest(
            id=self.run_id or uuid7(),
            attachment=new_key(),
            argv=None if args is None or self.shell else _argv(args),
            shell=_script(args) if args is not None and self.shell else None,
            prelude=self.prelude if args is not None and self.shell else None,
            login=login,
            cwd=self.cwd,
            env=tuple(self.env.items()),
            stdin=stdin or on_terminal,
            merge_stderr=self.merge_stderr or on_terminal,
            timeout=self.timeout,
            kill_after=None if login else self.kill_after,
            on_disconnect=self.on_disconnect,
            grace=self.grace,
            idle_timeout=self.idle_timeout,
            bounds=self.limits,
            spool=self.spool,
            window=TERMINAL_WINDOW if on_terminal else None,
            terminal=self.terminal,
            record_input=self.record_input,
            leave_processes=self.leave_processes,
            internal=self.internal,
            ssh_variables=self.ssh_variables,
        )


_DEFAULTS: Final = RunOptions()


def _restored(values: dict[str, Any]) -> RunOptions:
    return RunOptions(**values | {"env": MappingProxyType(values["env"])})


def combined(
    options: object,
    keywords: Mapping[str, object],
    allowed: frozenset[str],
    refusals: Mapping[str, Refusal] = POPEN,
) -> RunOptions:
    """Return `options` changed by `keywords`, whose names must be in `allowed` or harmless according to `refusals`.

    Raises as `RunOptions.of`.
    """
    base = RunOptions() if options is None else options
    if not isinstance(base, RunOptions):
        raise TypeError(f"options is {type(base).__name__}; it must be RunOptions, or leave it out")
    keywords = without_harmless(keywords, refusals)
    _check_names(keywords, allowed)
    return base.changed(**cast("StartKeywords", keywords)) if keywords else base


# Checks and conversions


def _check_names(keywords: Mapping[str, Any], allowed: frozenset[str]) -> None:
    for name in keywords:
        if name not in allowed:
            close = closest(name, allowed, cutoff=0.75)
            hint = f"did you mean {close!r}?" if close else f"the options of a run are {', '.join(sorted(allowed))}"
            raise TypeError(f"unexpected keyword argument {name!r}; {hint}")


def _argv(args: Any) -> tuple[bytes, ...]:
    if isinstance(args, str | bytes | os.PathLike):
        # As subprocess on POSIX: a lone string is the program's name and is never split.
        return (as_bytes(args, "args"),)
    if not isinstance(args, Iterable) or isinstance(args, Mapping):
        raise type_error("args", args, "the program and its arguments, in a list")
    argv = tuple(as_bytes(argument, f"args[{at}]") for at, argument in enumerate(args))
    if not argv:
        raise ValueError("args is empty; it must begin with the program")
    return argv


def _script(args: Args) -> bytes:
    if not isinstance(args, str | bytes):
        raise TypeError("with shell=True, args must be the script as one str or bytes")
    return as_bytes(args, "args")


def _directory(value: Argument | None) -> bytes | None:
    return None if value is None else as_bytes(value, "cwd")


def _environment(env: Any) -> Mapping[bytes, bytes]:
    if env is not None and not isinstance(env, Mapping):
        raise type_error("env", env, "a mapping, or None")
    converted = {}
    for name, value in (env or {}).items():
        encoded = as_bytes(name, "a name in env")
        if not encoded or b"=" in encoded:
            raise ValueError(f"env: {name!r} cannot name a variable; a name is not empty and contains no equals sign")
        if encoded in converted:
            raise ValueError(f"env: {name!r} occurs twice, as str and as bytes")
        converted[encoded] = as_bytes(value, f"env[{name!r}]")
    return MappingProxyType(converted)


def _run_id(value: Any) -> str | None:
    return None if value is None else as_run_id(value)


def _on_disconnect(value: Any) -> Any:
    return as_choice(value, "on_disconnect", ("kill", "keep"))


def _spool(value: Any) -> int | None:
    if value is not None and as_count(value, "spool") < MIN_SPOOL_SIZE:
        raise ValueError(f"spool is {value!r}; it must be {MIN_SPOOL_SIZE} bytes or more, or None")
    return value  # type: ignore[no-any-return]  # checked


def _duration_of(where: str, *, positive: bool) -> Callable[[Any], float | None]:
    return lambda value: as_seconds(value, where, positive=positive)


def _bounds(limits: Any) -> m.Bounds | None:
    if limits is None or isinstance(limits, m.Bounds):
        return limits
    if not isinstance(limits, Mapping):
        raise type_error("limits", limits, "a mapping or Bounds, or None")
    for name, value in limits.items():
        if name not in m.Bounds.model_fields:
            raise ValueError(f"limits: unknown limit {name!r}; the limits are {', '.join(m.Bounds.model_fields)}")
        if value is None:
            continue
        if type(value) is not int and (name != "cpu" or type(value) is not float):
            raise TypeError(f"limits: {name} is {type(value).__name__}; it must be a number")
        if name == "cpu":
            as_seconds(value, "limits: cpu", positive=True)
        else:
            as_count(value, f"limits: {name}", 0 if name in ("file_size", "output") else 1)
    return m.Bounds(**limits)


def _prelude(value: Any) -> bytes | None:
    return None if value is None else _script(value)


def _terminal(value: Any) -> m.TerminalRequest | None:
    return as_instance(value, "terminal", m.TerminalRequest)


_CONVERTERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "shell": bool,
    "prelude": _prelude,
    "cwd": _directory,
    "env": _environment,
    "timeout": _duration_of("timeout", positive=True),
    "idle_timeout": _duration_of("idle_timeout", positive=True),
    "kill_after": _duration_of("kill_after", positive=False),
    "merge_stderr": bool,
    "run_id": _run_id,
    "on_disconnect": _on_disconnect,
    "grace": _duration_of("grace", positive=False),
    "limits": _bounds,
    "spool": _spool,
    "terminal": _terminal,
    "record_input": bool,
    "leave_processes": bool,
    "internal": bool,
    "ssh_variables": bool,
}
