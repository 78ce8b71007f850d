"""The options of a transfer: the keyword arguments of `Client.put`, `get` and `sync`, checked and converted once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Literal, TypedDict, cast

from farhand_client.arguments import as_bytes, as_count, as_str, shortened, type_error
from farhand_files.options import MAX_OPTION_NUMBER, TransferOptions
from farhand_files.wire import MAX_PATH, WireError
from farhand_protocol.sentences import closest


class FileKeywords(TypedDict, total=False):
    """Keyword arguments of `Client.put` and `Client.get`; `farhand_files.options.TransferOptions` describes them."""

    into: bool | None
    parents: bool
    excludes: Iterable[str]
    max_size: int | None
    newer_than: datetime | float | None
    checksum: bool
    delta: bool
    times: bool
    mode: int | None
    owner: str
    xattrs: bool
    in_place: bool
    sync: bool
    sha256: bool
    rate: int | None
    dry_run: bool


class SyncKeywords(FileKeywords, total=False):
    """Keyword arguments of `Client.sync`."""

    delete: bool


FILE_KEYWORDS: Final = frozenset(FileKeywords.__annotations__)
SYNC_KEYWORDS: Final = FILE_KEYWORDS | SyncKeywords.__annotations__.keys()

MAX_MODE: Final = 0o7777
"""The permission bits of a file, with setuid, setgid and sticky bit."""

_PATTERN: Final = frozenset(b"*?[")


def transfer_options(
    operation: Literal["put", "get"],
    paths: tuple[bytes, ...],
    several: bool,
    keywords: Mapping[str, Any],
    *,
    sync: bool,
) -> TransferOptions:
    """Return the options of a transfer; `several` says whether it may have more than one source.

    `paths` are those on the service's machine. Raises TypeError and ValueError for what no service would accept.
    """
    allowed = SYNC_KEYWORDS if sync else FILE_KEYWORDS
    for name in keywords:
        if name not in allowed:
            close = closest(name, allowed, cutoff=0.75)
            hint = f"did you mean {close!r}?" if close else f"the options are {', '.join(sorted(allowed))}"
            raise TypeError(f"unexpected keyword argument {name!r}; {hint}")
    for path in paths:
        if len(path) > MAX_PATH:
            raise ValueError(f"a path has {len(path)} bytes; it must have at most {MAX_PATH}")
    values = {name: _CONVERTERS[name](value) for name, value in keywords.items()}
    if values.get("into") is None:
        values["into"] = several
    options = TransferOptions(operation=operation, paths=paths, **{"delta": sync} | values)
    if options.excludes:
        _check_excludes(options)
    return options


def _check_excludes(options: TransferOptions) -> None:
    from farhand_files.selection import Selection  # pathspec takes some milliseconds to import

    try:
        Selection(options)
    except WireError as error:
        raise ValueError(str(error)) from None


def is_pattern(path: bytes) -> bool:
    """Return whether a path on the service's machine may stand for several (glob(7))."""
    return not _PATTERN.isdisjoint(path)


def _into(value: Any) -> bool | None:
    return None if value is None else bool(value)


def _excludes(value: Any) -> tuple[str, ...]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise type_error("excludes", value, "patterns, in a list")
    patterns = tuple(as_str(pattern, f"excludes[{at}]") for at, pattern in enumerate(value))
    for at, pattern in enumerate(patterns):
        as_bytes(pattern, f"excludes[{at}]")
    return patterns


def _count_of(name: str) -> Callable[[Any], int | None]:
    return lambda value: None if value is None else as_count(value, name)


def _newer_than(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        seconds = value.timestamp()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value
    else:
        raise type_error("newer_than", value, "a datetime, or seconds since the epoch, or None")
    if not 0 <= seconds <= MAX_OPTION_NUMBER / 1e9:
        raise ValueError(f"newer_than is {shortened(value)}; it must be from 1970 to 2262")
    whole = int(seconds)
    return min(whole * 10**9 + round((seconds - whole) * 1e9), MAX_OPTION_NUMBER)


def _mode(value: Any) -> int | None:
    if value is None:
        return None
    if as_count(value, "mode") > MAX_MODE:
        raise ValueError(f"mode is {shortened(value)}; it must be at most 0o7777, such as 0o644")
    return cast(int, value)


def _owner(value: Any) -> str:
    owner = as_str(value, "owner")
    as_bytes(owner, "owner")
    return owner


_CONVERTERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "into": _into,
    "excludes": _excludes,
    "max_size": _count_of("max_size"),
    "newer_than": _newer_than,
    "mode": _mode,
    "owner": _owner,
    "rate": _count_of("rate"),
} | dict.fromkeys(
    ("parents", "checksum", "delete", "delta", "times", "xattrs", "in_place", "sync", "sha256", "dry_run"), bool
)
