"""What is transferred and how: sent by the client in its first frame, and kept by both sides. No I/O.

Bytes are in JSON as in protocol/README.md, "Bytes": text where they are UTF-8, and else `{"base64": …}`.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from farhand_protocol.errors import RemoteProtocolError
from farhand_protocol.limits import Limits
from farhand_protocol.strict_json import parse_json
from farhand_protocol.values import MAX_PATHS, BadValue, argument_from_json, bytes_to_json

from .wire import MAX_PATH, WireError

MAX_OPTION_NUMBER: Final = (1 << 63) - 1

_LIMITS: Final = Limits()


class TransferOptions(NamedTuple):
    """How a transfer is done. Both sides use the same.

    `paths` are the worker's side: for `put` the one destination, for a `get` the sources, which may be patterns
    (glob(7)). With `into`, the destination is a directory in which the sources are placed under their own names, and is
    made if it is missing; otherwise a single file gets the destination's name, unless that is a directory. `parents`
    also makes missing directories above it.

    `excludes` are lines of gitignore(5), in order. `max_size` (bytes) and `newer_than` (ns since the epoch) are about
    regular files. `checksum` compares digests instead of sizes and times. `delete` removes what the sources do not have
    below the directories that are transferred. `delta` sends only those parts of a file that the receiver lacks.

    `times`: keep modification times. `mode`: the mode of all regular files, instead of their own without setuid, setgid
    and sticky bit. `owner`: the name or number of the user, and after a colon of the group, that owns what is written;
    only root may. `xattrs`: keep extended attributes and ACLs. `in_place`: write into an existing file or device, which
    is neither whole nor safe meanwhile. `sync`: make everything durable (fsync(2)) before it replaces anything.
    `sha256`: report this digest too. `rate`: at most so many bytes of content each second. `dry_run`: change nothing.
    """

    operation: str
    paths: tuple[bytes, ...]
    into: bool = False
    parents: bool = False
    excludes: tuple[str, ...] = ()
    max_size: int | None = None
    newer_than: int | None = None
    checksum: bool = False
    delete: bool = False
    delta: bool = False
    times: bool = True
    mode: int | None = None
    owner: str = ""
    xattrs: bool = False
    in_place: bool = False
    sync: bool = True
    sha256: bool = False
    rate: int | None = None
    dry_run: bool = False

    def to_json(self) -> bytes:
        """Return the options as JSON, without those that have their default."""
        told: dict[str, Any] = {}
        for name, value in self._asdict().items():
            if name == "paths":
                told[name] = [bytes_to_json(path) for path in value]
            elif name not in self._field_defaults or value != self._field_defaults[name]:
                told[name] = value
        return json.dumps(told).encode()

    def in_range(self, size: int, mtime: int) -> bool:
        """Return whether a regular file is neither larger (a size of -1 is unknown) nor older than what is taken."""
        too_large = self.max_size is not None and size > self.max_size
        too_old = self.newer_than is not None and mtime <= self.newer_than
        return not too_large and not too_old

    @classmethod
    def from_json(cls, text: bytes) -> TransferOptions:
        """Return the options in `text`. Raises `WireError`, which names the first mistake."""
        told = parse_object(text, "options")
        for name in told:
            if name not in cls._fields:
                raise WireError(f"this service knows no option {name!r} of a transfer")
        values = {name: _checked(name, value) for name, value in told.items()}
        if not {"operation", "paths"} <= values.keys():
            raise WireError("options without operation or paths")
        return cls(**values)


class Ready(NamedTuple):
    """The worker's answer: it serves the options. `delta` says whether it can find what a file has in common with
    another one; without that, whole files are sent."""

    delta: bool = False

    def to_json(self) -> bytes:
        """Return the answer as JSON."""
        return json.dumps({"delta": self.delta}).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Ready:
        """Return the answer in `text`. Raises `WireError`."""
        told = parse_object(text, "answer")
        if told.keys() != {"delta"} or not isinstance(told["delta"], bool):
            raise WireError("an answer to a transfer without delta")
        return cls(told["delta"])


def parse_object(text: bytes, what: str) -> dict[str, Any]:
    """Return the JSON object in `text`. Raises `WireError`; also for a name that is in it twice."""
    try:
        told = parse_json(text, _LIMITS)
    except RemoteProtocolError as error:
        raise WireError(f"{what} of a transfer: {error}") from None
    if not isinstance(told, dict):
        raise WireError(f"the {what} of a transfer are not a JSON object")
    return told


_NUMBERS: Final = {
    "max_size": MAX_OPTION_NUMBER,
    "newer_than": MAX_OPTION_NUMBER,
    "rate": MAX_OPTION_NUMBER,
    "mode": 0o7777,
}
_TEXTS: Final = {"operation": 16, "owner": 255}


def _checked(name: str, value: Any) -> Any:
    if name == "paths":
        return tuple(_path(each) for each in _several(name, value))
    if name == "excludes":
        return tuple(_text(name, each, MAX_PATH) for each in _several(name, value))
    if name in _NUMBERS:
        if value is not None and (type(value) is not int or not 0 <= value <= _NUMBERS[name]):
            raise WireError(f"{name} of a transfer is no number from 0 to {_NUMBERS[name]}")
        return value
    if name in _TEXTS:
        text = _text(name, value, _TEXTS[name])
        if name == "operation" and text not in ("put", "get"):
            raise WireError(f"there is no transfer {text!r}; put and get are known")
        return text
    if type(value) is not bool:
        raise WireError(f"{name} of a transfer is neither true nor false")
    return value


def _several(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) > MAX_PATHS:
        raise WireError(f"{name} of a transfer are no list of up to {MAX_PATHS}")
    return value


def _text(name: str, value: Any, longest: int) -> str:
    if not isinstance(value, str) or len(value) > longest or "\0" in value:
        raise WireError(f"{name} of a transfer is no text of up to {longest} characters")
    return value


def _path(value: Any) -> bytes:
    try:
        path = argument_from_json(value)
    except BadValue as error:
        raise WireError(f"a path of a transfer: {error.reason}") from None
    if not path or len(path) > MAX_PATH:
        raise WireError(f"a path of {len(path)} bytes; 1 to {MAX_PATH} are allowed")
    return path
