"""What the values in messages must look like, beyond their types: bytes and text in JSON, and fields that depend on
each other. Both codecs use it, `messages` and `plain`, so it must not import pydantic.

Arguments, paths and environment variables are bytes on Linux (execve(2)), but JSON strings are not. Bytes that are
valid UTF-8 are sent as a JSON string, all other bytes as `{"base64": "…"}` (RFC 4648, section 4, padded). Every value
has exactly one JSON form.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64

from .errors import ErrorCode
from .sentences import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Final, TypeAlias

    JsonBytes: TypeAlias = str | dict[str, str]

MAX_COUNT: Final = (1 << 63) - 1  # the largest file offset (off_t), and the largest integer of SQLite

MAX_TEXT: Final = 2048
"""Characters: at 6 bytes each (a JSON escape), a message with one such text fits the smallest message limit."""

MAX_SHORT_TEXT: Final = 512
"""Characters: at 6 bytes each, a message that also holds a command and a name still fits the smallest message limit."""


class BadValue(Exception):
    """A value has the right JSON type, but is not what its field needs."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


MAX_PATHS: Final = 1024
"""Paths or patterns of one transfer: more than a person types. A program transfers a directory instead."""

MAX_PURPOSE: Final = 200
"""Characters that say what a tunnel is for: several specifications such as `-L 8080:db:5432`. Listings truncate the
rest of a longer list anyway."""


# Numbers and text


def positive_zero(seconds: float) -> float:
    """Return -0.0, which is not less than 0, as 0.0: every value has one JSON form."""
    return seconds + 0.0


def fit_text(value: Any) -> Any:
    """Return a text as at most `MAX_TEXT` printable characters, and anything else unchanged."""
    return _fit(value, MAX_TEXT)


def fit_short_text(value: Any) -> Any:
    """Return a text as at most `MAX_SHORT_TEXT` printable characters, and anything else unchanged."""
    return _fit(value, MAX_SHORT_TEXT)


def _fit(value: Any, limit: int) -> Any:
    if not isinstance(value, str):
        return value
    text = printable(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


# Bytes


def bytes_to_json(value: bytes) -> JsonBytes:
    """Return the JSON form of `value`: a string if it is UTF-8, else `{"base64": …}`."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64_to_json(value)}


def bytes_from_json(value: Any) -> bytes:
    """Return the bytes that a JSON value stands for. A `bytes` value is returned unchanged, for callers that build
    messages.

    Raises BadValue for anything but the form that `bytes_to_json` returns.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and value.keys() == {"base64"} and isinstance(value["base64"], str):
        decoded = base64_from_json(value["base64"])
        if isinstance(bytes_to_json(decoded), str):
            raise BadValue(ErrorCode.INVALID_FIELD, "base64 is only for bytes that are not UTF-8; send a string")
        return decoded
    raise BadValue(ErrorCode.INVALID_FIELD, 'expected a string, or {"base64": …} for bytes that are not UTF-8')


def base64_to_json(value: bytes) -> str:
    """Return base64 with padding."""
    return b2a_base64(value, newline=False).decode()


def base64_from_json(text: Any) -> bytes:
    """Return the bytes of a base64 text in its only form; bytes are returned unchanged. Raises BadValue."""
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str):
        raise BadValue(ErrorCode.INVALID_FIELD, "expected a base64 string")
    try:
        decoded = a2b_base64(text, strict_mode=True)
    except ValueError:
        decoded = None
    # Non-zero padding bits would be a second form of the same bytes.
    if decoded is None or base64_to_json(decoded) != text:
        raise BadValue(ErrorCode.INVALID_FIELD, "not valid base64 (RFC 4648, section 4)")
    return decoded


def argument_from_json(value: Any) -> bytes:
    """Return an argument, path or environment value: any bytes except NUL. Raises BadValue."""
    decoded = bytes_from_json(value)
    if b"\0" in decoded:
        raise BadValue(ErrorCode.NUL_BYTE, "a NUL byte cannot be passed to a program")
    return decoded


def environment_name_from_json(value: Any) -> bytes:
    """Return an environment name: one or more bytes without NUL or `=`. Raises BadValue."""
    decoded = argument_from_json(value)
    if not decoded or b"=" in decoded:
        raise BadValue(
            ErrorCode.BAD_ENVIRONMENT_NAME, "an environment name must have at least one byte and no equals sign"
        )
    return decoded


def arguments_from_json(values: Any) -> tuple[bytes, ...]:
    """Return several arguments, decoded together: one by one they would take ten times as long. Raises BadValue."""
    if not isinstance(values, list | tuple):
        raise BadValue(ErrorCode.INVALID_FIELD, "expected an array")
    return tuple(_all_bytes(values))


def arguments_to_json(values: Sequence[bytes]) -> Sequence[JsonBytes]:
    """Return the JSON form of each of `values`, which contain no NUL."""
    try:
        found = b"\0".join(values).decode().split("\0")
    except UnicodeDecodeError:
        return [bytes_to_json(value) for value in values]
    return found if len(found) == len(values) else [bytes_to_json(value) for value in values]


def environment_from_json(pairs: Any) -> tuple[tuple[bytes, bytes], ...]:
    """Return pairs of an environment name and a value, each name once. Raises BadValue."""
    if not isinstance(pairs, list | tuple):
        raise BadValue(ErrorCode.INVALID_FIELD, "expected an array of pairs")
    if not (set(map(type, pairs)) <= {list, tuple} and set(map(len, pairs)) <= {2}):
        raise BadValue(ErrorCode.INVALID_FIELD, "expected pairs of a name and a value")
    names, values = (_all_bytes([pair[at] for pair in pairs]) for at in (0, 1))
    if b"" in names or b"=" in b"\0".join(names):
        names = _each(names, environment_name_from_json)
    if len(set(names)) != len(names):
        raise BadValue(ErrorCode.INVALID_FIELD, "an environment name occurs twice in env")
    return tuple(zip(names, values, strict=True))


def environment_to_json(pairs: Sequence[tuple[bytes, bytes]]) -> list[Sequence[JsonBytes]]:
    """Return the JSON form of pairs of an environment name and a value."""
    flat = arguments_to_json([each for pair in pairs for each in pair])
    return [flat[at : at + 2] for at in range(0, len(flat), 2)]


def _all_bytes(values: Sequence[Any]) -> list[bytes]:
    # A call for each of 233,016 arguments would take seconds; nearly always all of them are strings.
    try:
        found = "\0".join(values).encode().split(b"\0")
    except (TypeError, UnicodeEncodeError):
        return _each(values, argument_from_json)
    return found if len(found) == len(values) else _each(values, argument_from_json)


def _each(values: Sequence[Any], one: Callable[[Any], bytes]) -> list[bytes]:
    found = []
    for index, value in enumerate(values):
        try:
            found.append(one(value))
        except BadValue as error:
            raise BadValue(error.code, f"number {index + 1}: {error.reason}") from None
    return found


# Fields that depend on each other: each function returns what is wrong with the fields of one message, or ""


def run_fault(fields: Mapping[str, Any]) -> str:
    """Return what is wrong with a `run`."""
    commands = (fields["argv"], fields["shell"], fields["transfer"], fields["forward"])
    if sum(command is not None for command in commands) + fields["login"] != 1:
        return "exactly one of argv, shell, login, transfer and forward is needed"
    for kind, content in _OWN_PROGRAMS.items():
        if fields[kind] is None:
            continue
        if not fields["stdin"]:
            return f"a {kind} needs stdin: {content} go both ways over stdin and stdout"
        for name in _NOT_OF_OWN_PROGRAMS:
            if fields[name] not in (None, False, ()):
                return f"a {kind} has no {name}"
    if fields["prelude"] is not None and fields["shell"] is None:
        return "a prelude needs the text in shell that it runs"
    if fields["terminal"] is not None and not (fields["stdin"] and fields["merge_stderr"]):
        return "a terminal has stdin, and stderr merged into stdout"
    return ""


_OWN_PROGRAMS: Final = {"transfer": "files", "forward": "connections"}
"""Fields of a `run` for which the service starts a program of its own, and what that carries."""

_NOT_OF_OWN_PROGRAMS: Final = (
    *("prelude", "cwd", "env", "merge_stderr", "idle_timeout", "bounds", "spool"),
    *("terminal", "record_input", "leave_processes", "ssh_variables"),
)
"""Fields of a `run` that mean nothing for such a program, or would break it. It is none of the caller's that could have
arguments, an environment or a directory, or leave processes behind. A transfer is silent for as long as it reads, and a
tunnel while no connection has data, so there is no time after which silence means that it hangs. With a spool, frames
that nobody has read yet would be overwritten."""


def transfer_fault(fields: Mapping[str, Any]) -> str:
    """Return what is wrong with the transfer of a `run`."""
    if fields["access"] == "write" and len(fields["paths"]) != 1:
        return "files are written to one path"
    return "" if all(fields["paths"]) else "a path is empty"


def forward_fault(fields: Mapping[str, Any]) -> str:
    """Return what is wrong with the forward of a `run`."""
    return "" if fields["purpose"].isprintable() else "purpose has characters that cannot be printed"


def attach_fault(fields: Mapping[str, Any]) -> str:
    """Return what is wrong with an `attach`."""
    if fields["read_only"] and (fields["stdin"] is not None or fields["hold"]):
        return "a read-only attachment neither feeds stdin nor holds the run"
    if fields["share"] and (fields["stdin"] is None or fields["size"] is None):
        return "share needs stdin and size"
    return ""


def gap_fault(fields: Mapping[str, Any]) -> str:
    """Return what is wrong with a `gap`."""
    return "the gap ends beyond the largest offset" if fields["offset"] + fields["bytes"] > MAX_COUNT else ""


def terminal_fault(fields: Mapping[str, Any]) -> str:
    """Return what is wrong with the terminal of a `run`."""
    modes = fields["modes"]
    if len({name for name, _ in modes}) != len(modes):
        return "a mode occurs twice in modes"
    if any(value > 1 for name, value in modes if not name.startswith("V")):
        return "a flag in modes must be 0 or 1"
    return ""
