"""The hosts of the page: those of the configuration file, and the one that was named. Each page has its own connection.

The first login at a host is made as a command makes it; later ones ask the user nothing, as after a lost connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from farhand_client.blocking import run_blocking
from farhand_client.config import is_there, load
from farhand_client.connection.address import resolve
from farhand_client.connection.deadline import connect_deadline
from farhand_client.hops import OpenedLogin, open_login

if TYPE_CHECKING:
    from farhand_client.connection.login import LoginResult
    from farhand_client.logins import ConnectOptions


class WebHost:
    """A host by its `name`, and how to log in there."""

    def __init__(self, name: str, options: ConnectOptions, via: tuple[str, ...] | None = None) -> None:
        self.name: Final = name
        self._options = options
        self._via = via
        self._opened: OpenedLogin | None = None
        self._first = asyncio.Lock()

    async def log_in(self, *, ask: bool = False) -> LoginResult:
        """Connect and log in. With `ask` a person at the terminal is asked if need be. Raises as `connect`."""
        async with self._first:
            if self._opened is None:
                self._opened = await self._log_in_first(ask)
                return self._opened.login
        return await self._opened.again()

    async def close(self) -> None:
        """Close what the connections went through."""
        opened, self._opened = self._opened, None
        if opened is not None and opened.release is not None:
            await opened.release()

    async def _log_in_first(self, ask: bool) -> OpenedLogin:
        options = self._options if ask else self._options.without_asking()
        async with connect_deadline(options.timeout) as deadline:
            file = options.config and options.config / "config.toml"
            address = await run_blocking(resolve, self.name, config=file, via=self._via)
            return await open_login(address, options, deadline)


def web_hosts(named: str | None, options: ConnectOptions, via: tuple[str, ...] | None = None) -> Mapping[str, WebHost]:
    """Return the hosts by name, the `named` one first. `via` belongs to that one, as do key files that `options` name.

    Raises `AddressError` if the configuration file has mistakes.
    """
    file = options.config and options.config / "config.toml"
    names = list(load(file).hosts) if file is not None and is_there(file) else []
    others = replace(options, named=())
    hosts = {} if named is None else {named: WebHost(named, options, via)}
    for name in names:
        hosts.setdefault(name, WebHost(name, others))
    return hosts
