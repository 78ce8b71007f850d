"""Option values as people type them: sizes, times, limits, ids, variables. Each function is a `type` for argparse."""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from farhand_protocol.quantities import MAX_TIME

MAX_DURATION: Final = MAX_TIME
"""Seconds: ten years, the longest time in the protocol (`MAX_SECONDS`), which the parser need not import."""

MAX_SIZE: Final = (1 << 63) - 1
"""Bytes: the largest offset in a file (off_t)."""


MAX_MOMENT: Final = MAX_SIZE / 1e9
"""Seconds since the epoch: the year 2262, which is the last whose nanoseconds have 63 bits."""


def size(text: str) -> int:
    """Return a number of bytes: `65536`, `64K`, `512M`, `1.5G`, `64 KiB`."""
    from farhand_protocol.quantities import bytes_from

    try:
        value = bytes_from(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, not {text!r}") from None
    if value > MAX_SIZE:
        raise argparse.ArgumentTypeError(f"{text!r} is too large")
    return value


def duration(text: str) -> float:
    """Return a number of seconds, 0 or more: `90`, `0.5`, `30s`, `5m`, `1h30m`, `2d`."""
    from farhand_protocol.quantities import seconds_from

    try:
        seconds = seconds_from(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, not {text!r}") from None
    if seconds > MAX_DURATION:
        raise argparse.ArgumentTypeError(f"{text!r} is more than ten years")
    return seconds


def positive_duration(text: str) -> float:
    """Return a number of seconds greater than 0, in the forms of `duration`."""
    if not (seconds := duration(text)):
        raise argparse.ArgumentTypeError(f"must be more than 0, not {text!r}")
    return seconds


def fingerprint(text: str) -> str:
    """Return a key's fingerprint as Farhand and OpenSSH print it: `SHA256:` and 43 characters of base64."""
    kind, _, digest = text.partition(":")
    if kind.upper() == "SHA256" and re.fullmatch("[A-Za-z0-9+/]{43}=?", digest):
        return f"SHA256:{digest.rstrip('=')}"
    what = (
        "an MD5 fingerprint" if re.fullmatch("(?i)(md5:)?([0-9a-f]{2}:)*[0-9a-f]{2}|md5:.*", text) else "no fingerprint"
    )
    raise argparse.ArgumentTypeError(
        f"{text!r} is {what}; write SHA256: and 43 characters, as `farhandd host-key` prints it on that machine"
    )


def hosts_on_the_way(text: str) -> list[str]:
    """Return the hosts of `--via`, which are checked together with HOST."""
    hosts = text.split(",")
    if not all(host.strip() for host in hosts):
        raise argparse.ArgumentTypeError("one of the hosts is empty; write HOST or HOST,HOST")
    return hosts


def transfer_rate(text: str) -> int:
    """Return a number of bytes a second, more than 0, in the forms of `size`, with or without `/s`."""
    if not (value := size(text.removesuffix("/s"))):
        raise argparse.ArgumentTypeError("must be more than 0 bytes a second")
    return value


def file_mode(text: str) -> int:
    """Return a file's mode, written in octal: `644`, `0755`."""
    if not re.fullmatch("[0-7]{1,5}", text) or int(text, 8) > 0o7777:
        raise argparse.ArgumentTypeError(f"{text!r} is not a mode; write it in octal, as 644 or 0755")
    return int(text, 8)


def moment(text: str) -> float:
    """Return seconds since the epoch: of a time ago (`2d`), a local date or time (`2030-06-30`, `2030-06-30T08:00`) or
    `@` and that number."""
    import time
    from datetime import datetime

    from farhand_protocol.quantities import seconds_from

    try:
        if text.startswith("@"):
            value = float(text[1:])
        elif text[:4].isdecimal() and text[4:5] == "-":
            value = datetime.fromisoformat(text).timestamp()
        else:
            value = time.time() - seconds_from(text)
    except (ValueError, OverflowError, OSError):
        value = -1
    if not 0 <= value <= MAX_MOMENT:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a moment; write how long ago it was, as 90m or 2d, or a date, as 2030-06-30 or "
            "2030-06-30T08:00"
        )
    return value


def limits(text: str) -> Mapping[str, Any]:
    """Return the limits of `memory=512M,cpu=10,…` under the names that the API uses."""
    found: dict[str, Any] = {}
    for item in text.split(","):
        name, equals, value = item.partition("=")
        parse = _LIMITS.get(name)
        if parse is None or not equals:
            known = ", ".join(f"{name}=N" for name in _LIMITS)
            raise argparse.ArgumentTypeError(f"{item!r} is not a limit; known limits: {known}")
        found[name.replace("-", "_")] = parse(value)
    return found


def speed(text: str) -> float:
    """Return a factor greater than 0: 2 is twice as fast, 0.5 half as fast."""
    if not 0 < (value := _number(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a speed; 2 is twice as fast, 0.5 half as fast")
    return value


def terminal_size(text: str) -> tuple[int, int]:
    """Return columns and rows, as in `80x24`."""
    columns, _, rows = text.partition("x")
    if not all(part.isascii() and part.isdecimal() and 1 <= int(part[:6]) <= 0xFFFF for part in (columns, rows)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a terminal size; use a form like 80x24 (columns, rows)")
    return int(columns), int(rows)


def variable(text: str) -> tuple[bytes, bytes] | None:
    """Return an environment variable for the command: `K=V`, or `K` with its local value; None if it is not set."""
    name, equals, value = os.fsencode(text).partition(b"=")
    if not name:
        raise argparse.ArgumentTypeError(f"{text!r} has no name before the equals sign")
    if equals:
        return name, value
    local = os.environb.get(name)
    return None if local is None else (name, local)


def new_run_id(text: str) -> str:
    """Return a whole id for a new run."""
    from farhand_client.ids import checked_id

    try:
        return checked_id(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run_id(text: str) -> str:
    """Return the id of an existing run, whole or a prefix."""
    from farhand_client.ids import checked_prefix
    from farhand_client.ui.runs import MIN_ID_PREFIX

    try:
        checked_prefix(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if len(text) < MIN_ID_PREFIX:
        raise argparse.ArgumentTypeError(f"{text!r} is too short for an id; type at least {MIN_ID_PREFIX} characters")
    return text


def escape_character(text: str) -> int | None:
    """Return the code of an escape character; None for `none`."""
    from farhand_client.terminal.escapes import parse_escape_character

    try:
        return parse_escape_character(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _count(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or not 0 < int(text[:20]) < 1 << 63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number (1 or more)")
    return int(text)


def _positive_size(text: str) -> int:
    if not (value := size(text)):
        raise argparse.ArgumentTypeError("a memory limit must be more than 0 bytes")
    return value


_LIMITS: Final[dict[str, Callable[[str], int | float]]] = {
    "memory": _positive_size,
    "cpu": positive_duration,
    "processes": _count,
    "files": _count,
    "file-size": size,
    "output": size,
}


def web_port(text: str) -> int:
    """Return a TCP port, 0 for any that is free."""
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is no port; it must be 0 to 65535")
    return int(text)
