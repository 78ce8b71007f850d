"""What to say about a name that cannot be resolved: it is not configured either, and another one was perhaps meant."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import suppress

from farhand_client.config import load_hosts
from farhand_client.errors import AddressError
from farhand_protocol.sentences import closest

from .address import Address


def unresolved_name(address: Address, error: socket.gaierror, known: Iterable[str] = ()) -> str:
    """Return a sentence about `address`, whose name the resolver does not know.

    `known` are names that were used before; the configured ones are added.
    """
    from shutil import which

    sentence = f"cannot resolve the name {address.host}: {error.strerror}"
    if address.alias is not None:
        return f"{sentence}; it is the address of [hosts.{address.alias}] in {address.config}"
    names = [*known]
    if address.config is not None:
        sentence += f", and {address.config} has no host of that name"
        # The file may have been changed after the name was looked up in it.
        with suppress(AddressError):
            names = [*load_hosts(address.config), *names] if address.config.exists() else names
    if error.errno == socket.EAI_AGAIN:
        return f"{sentence}; is there a network?"
    if which(address.host):
        return f"{sentence}; {address.host} is a program here: is HOST missing before it?"
    close = closest(address.host.lower(), [name for name in names if name != address.host])
    if close:
        return f"{sentence}; did you mean {close}?"
    where = "there" if address.config is not None else "in config.toml"
    return f"{sentence}; check its spelling, or give it an address {where}"
