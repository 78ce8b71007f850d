"""HOST may be left out where `FARHAND_HOST` or `default_host` of `config.toml` names one.

Which word is HOST then follows from how many there are: of the words of `farhand attach 01a1fc79` the only one is ID.
`kill` and `wait` take several ids: the first of several words is HOST, unless it is the beginning of an id as `ps`
prints it.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Sequence
from typing import Final

from farhand_client.config import config_directory, load, load_default_host
from farhand_client.errors import AddressError

from .values import fingerprint, run_id

HOST_VARIABLE: Final = "FARHAND_HOST"
"""The environment variable that names the default HOST; it takes precedence over `config.toml`."""

_ID_OF_PS: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}[0-9a-f-]{0,23}")
"""At least the thirteen characters of an id that `farhand ps` shows (`MIN_ID_SHOWN`). No host is called like that."""


def default_host() -> str | None:
    """Return the default HOST; None if there is none. Raises `AddressError` if `config.toml` cannot be used."""
    if host := os.environ.get(HOST_VARIABLE):
        return host
    return load_default_host(config_directory() / "config.toml")


def required_default(parser: argparse.ArgumentParser, missing: str = "HOST is missing") -> str:
    """Return the default HOST; without one, print how to set it and exit with 2.

    Raises `AddressError` if it or `config.toml` cannot be used.
    """
    from farhand_client.connection.address import resolve

    host = default_host()
    file = config_directory() / "config.toml"
    if host is None:
        parser.error(f'{missing}; to make HOST optional, set default_host = "HOST" in {file}, or {HOST_VARIABLE}')
    try:
        resolve(host, config=file)
    except AddressError as error:
        place = HOST_VARIABLE if os.environ.get(HOST_VARIABLE) else load(file).place("default_host")
        raise AddressError(f"{place}: {error}") from None
    return host


def parse_with_host(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options in `arguments`, with the default HOST as `options.host` if there is no other.

    Ids in `options.id` or `options.ids` are checked, and a lone fingerprint belongs to `options.fingerprint`. Exits
    with 2 if the arguments are wrong. Raises as `default_host`.
    """
    options = parser.parse_intermixed_args(arguments)
    ids: list[str] = getattr(options, "ids", None) or [word for word in (getattr(options, "id", None),) if word]
    if options.host is not None and _ID_OF_PS.fullmatch(options.host) and hasattr(options, "ids"):
        ids = options.ids = [options.host, *options.ids]
        options.host = None
    if options.host is not None and options.host.upper().startswith("SHA256:") and hasattr(options, "fingerprint"):
        options.fingerprint, options.host = _checked(parser, "FINGERPRINT", fingerprint, options.host), None
    if options.host is None:
        options.host = required_default(parser, "HOST or ID is missing" if ids else "HOST is missing")
        where = f"; HOST is {options.host!r}, the default"
    else:
        where = ""
    for word in ids:
        _checked(parser, "ID", run_id, word, where)
    return options


def _checked(
    parser: argparse.ArgumentParser, name: str, check: Callable[[str], str], word: str, where: str = ""
) -> str:
    try:
        return check(word)
    except argparse.ArgumentTypeError as error:
        parser.error(f"argument {name}: {error}{where}")
