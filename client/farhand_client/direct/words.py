"""The arguments of `farhand run`, where they are so plain that no parser is needed.

What is rare or doubtful is left to the command's own parser, which knows what to say about it: unknown options, several
in one word, values that cannot be read, missing words.
"""

from __future__ import annotations

import os

from farhand_client.ids import is_run_id, new_key, uuid7
from farhand_client.times import COMMAND_KILL_AFTER, CONNECT_TIMEOUT, KEEPALIVE_INTERVAL

from .deadline import NotDirectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Final

_FLAGS: Final = {
    "-i": "stdin",
    "--stdin": "stdin",
    "-n": "no_stdin",
    "--no-stdin": "no_stdin",
    "-T": "without_terminal",
    "--shell": "shell",
    "--merge": "merge",
    "--leave-processes": "leave_processes",
    "--no-mux": "no_mux",
}

_VALUES: Final = {
    "--cwd": "cwd",
    "-e": "env",
    "--env": "env",
    "--timeout": "timeout",
    "--idle-timeout": "idle_timeout",
    "--kill-after": "kill_after",
    "--grace": "grace",
    "--id": "id",
    "--on-disconnect": "on_disconnect",
    "--reconnect": "reconnect",
    "-I": "identity",
    "--identity": "identity",
    "--connect-timeout": "connect_timeout",
    "--limit": "limit",
    "--buffer": "buffer",
}

_LIMITS: Final = {
    "memory": "bytes",
    "cpu": "seconds",
    "processes": "count",
    "files": "count",
    "file-size": "bytes",
    "output": "bytes",
}
"""What `--limit` accepts, and what each is a number of."""


class DirectCommand:
    """A command to run at `host`. `request` are the fields of the message that requests the run."""

    def __init__(self, host: str, request: dict[str, Any]) -> None:
        self.host: Final = host
        self.request: Final = request
        self.identities: list[str] = []
        """Key files to log in with, and no others."""
        self.connect_timeout = CONNECT_TIMEOUT
        """Seconds until the login must be done."""
        self.says_unread = True
        """Whether to say that stdin holds data which is not passed on."""
        self.mux = True
        """Whether the helper's connection may be used."""
        self.keepalive = KEEPALIVE_INTERVAL
        """Seconds of silence after which the service is pinged."""
        self.as_ssh = False
        """Whether exit codes are those of ssh(1)."""

    @property
    def stdin(self) -> bool:
        """Whether our stdin is passed on."""
        return bool(self.request.get("stdin"))

    @property
    def kept(self) -> bool:
        """Whether the run continues without this client."""
        return self.request.get("on_disconnect") == "keep"

    @property
    def kill_after(self) -> float:
        """Seconds between TERM and KILL when the run is stopped."""
        return float(self.request["kill_after"])


def plain_command(arguments: Sequence[str], default_host: Callable[[], str | None]) -> DirectCommand:
    """Return the command that `arguments`, the words after `farhand run`, request.

    `default_host` returns the HOST of a command without one. Raises NotDirectError.
    """
    options, at = _options(arguments)
    rest = list(arguments[at:])
    dashes = rest[:1] == ["--"]
    if dashes:
        del rest[0]
    host, words = _host(rest, dashes, default_host)
    stdin = "stdin" in options
    if not words or (stdin and "no_stdin" in options):
        raise NotDirectError
    request: dict[str, Any] = {"type": "run", "id": options.get("id") or uuid7(), "attachment": new_key()}
    if "shell" in options:
        if len(words) != 1:
            raise NotDirectError
        request["shell"] = os.fsencode(words[0])
    else:
        request["argv"] = tuple(map(os.fsencode, words))
    if "cwd" in options:
        request["cwd"] = os.fsencode(options["cwd"])
    if variables := _variables(options.get("env", ())):
        request["env"] = variables
    if stdin:
        request["stdin"] = True
    if "merge" in options:
        request["merge_stderr"] = True
    for name in ("timeout", "idle_timeout"):
        if name in options:
            request[name] = _seconds(options[name], positive=True)
    request["kill_after"] = _seconds(options["kill_after"]) if "kill_after" in options else COMMAND_KILL_AFTER
    if "on_disconnect" in options:
        request["on_disconnect"] = options["on_disconnect"]
    if "limit" in options:
        request["bounds"] = _bounds(options["limit"])
    if (buffer := options.get("buffer", "block")) != "block":
        request["spool"] = _spool(buffer)
    if "grace" in options:
        request["grace"] = _seconds(options["grace"])
    if "leave_processes" in options:
        request["leave_processes"] = True
    if "reconnect" in options:
        _seconds(options["reconnect"])
    command = DirectCommand(host, request)
    command.identities = options.get("identity", [])
    command.says_unread = "no_stdin" not in options
    command.mux = "no_mux" not in options
    if "connect_timeout" in options:
        command.connect_timeout = _seconds(options["connect_timeout"], positive=True)
    return command


def _options(arguments: Sequence[str]) -> tuple[dict[str, Any], int]:
    """Return the values of the options, and the index of the first word after them."""
    options: dict[str, Any] = {}
    at = 0
    while at < len(arguments):
        word = arguments[at]
        if not word.startswith("-") or word in ("-", "--"):
            break
        at += 1
        if word in _FLAGS:
            options[_FLAGS[word]] = True
            continue
        name, equals, value = word.partition("=")
        if not equals and at < len(arguments):
            value = arguments[at]
            at += 1
            if value.startswith("-"):
                raise NotDirectError
        elif not equals or not name.startswith("--"):
            raise NotDirectError
        if name not in _VALUES:
            raise NotDirectError
        _set(options, _VALUES[name], value)
    return options, at


def _set(options: dict[str, Any], name: str, value: str) -> None:
    if name in ("env", "identity", "limit"):
        options.setdefault(name, []).append(value)
        return
    known = {"id": is_run_id, "on_disconnect": ("kill", "keep").__contains__}
    if name in known and not known[name](value):
        raise NotDirectError
    options[name] = value


def _host(rest: list[str], dashes: bool, default_host: Callable[[], str | None]) -> tuple[str, list[str]]:
    """Return HOST and the words of the command, as `cli.run` finds them."""
    second = rest[1:2] == ["--"]
    if second:
        del rest[1]
    if not rest:
        raise NotDirectError
    if dashes and not second and (default := default_host()) is not None:
        return default, rest
    return rest[0], rest[1:]


def _variables(texts: Sequence[str]) -> tuple[tuple[bytes, bytes], ...]:
    variables: dict[bytes, bytes] = {}
    for text in texts:
        name, equals, value = os.fsencode(text).partition(b"=")
        if not name:
            raise NotDirectError
        if equals:
            variables[name] = value
        elif (local := os.environb.get(name)) is not None:
            variables[name] = local
    return tuple(variables.items())


def _bounds(texts: Sequence[str]) -> dict[str, int | float]:
    bounds: dict[str, int | float] = {}
    for item in ",".join(texts).split(","):
        name, equals, value = item.partition("=")
        match _LIMITS.get(name) if equals else None:
            case "bytes":
                amount: int | float = _bytes(value)
                if name == "memory" and not amount:
                    raise NotDirectError
            case "seconds":
                amount = _seconds(value, positive=True)
            case "count" if value.isascii() and value.isdecimal() and len(value) <= 9 and int(value):
                amount = int(value)
            case _:
                raise NotDirectError
        bounds[name.replace("-", "_")] = amount
    return bounds


def _spool(text: str) -> int:
    from farhand_protocol.limits import MIN_SPOOL_SIZE

    kind, _, value = text.partition("=")
    if kind != "spool" or (size := _bytes(value)) < MIN_SPOOL_SIZE:
        raise NotDirectError
    return size


def _bytes(text: str) -> int:
    from farhand_protocol.quantities import bytes_from

    try:
        size = bytes_from(text)
    except ValueError:
        raise NotDirectError from None
    if size >= 1 << 63:
        raise NotDirectError
    return size


def _seconds(text: str, *, positive: bool = False) -> float:
    from farhand_protocol.quantities import MAX_TIME, seconds_from

    try:
        seconds = seconds_from(text)
    except ValueError:
        raise NotDirectError from None
    # Less than a microsecond is refused by `arguments.as_seconds`.
    if not (1e-6 if positive else 0.0) <= seconds <= MAX_TIME:
        raise NotDirectError
    return seconds
