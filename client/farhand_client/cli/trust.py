"""`farhand trust`: fetch a service's key, compare or show it, and put it on record."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence

from farhand_client.config import config_directory
from farhand_client.connection.address import Address, resolve
from farhand_client.connection.dial import check_host_key, fetch_key, record_host_key
from farhand_client.errors import AddressError, ConnectError, HostKeyChanged, HostKeyUnknown
from farhand_client.trust.known_hosts import KnownHosts
from farhand_protocol.sshformat import PublicKey

from .main import OURS, say
from .options import seconds
from .show import show
from .terminal import confirm


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="farhand trust",
        description="Put a service's key on record. With FINGERPRINT, as `farhandd host-key` prints it there, only "
        "that key is taken, also instead of another; without, you are asked.",
        allow_abbrev=False,
    )
    parser.add_argument("--connect-timeout", metavar="S", type=seconds, default=30.0, help="seconds (default 30)")
    parser.add_argument("host", metavar="HOST")
    parser.add_argument("fingerprint", metavar="FINGERPRINT", nargs="?", help="SHA256:…")
    options = parser.parse_args(arguments)
    config = config_directory()
    address = resolve(options.host, config=config / "config.toml")
    if address.socket is not None:
        raise AddressError(f"{address}: a socket of this machine has no key; the kernel vouches for it")
    record = KnownHosts(config / "known_hosts")
    return asyncio.run(_trust(address, record, options.fingerprint, options.connect_timeout))


async def _trust(address: Address, record: KnownHosts, fingerprint: str | None, timeout: float) -> int:
    try:
        async with asyncio.timeout(timeout):
            key = await fetch_key(address)
    except TimeoutError:
        raise ConnectError(f"{address} did not answer within {timeout:g} seconds") from None
    if fingerprint is not None:
        return _compared(address, record, key, fingerprint)
    try:
        check_host_key(record, address, key)
    except HostKeyUnknown as unknown:
        if not await confirm(unknown):
            say(str(unknown))
            return OURS
        record_host_key(record, address, key)
    show(f"{address} is known by {key.fingerprint} ({record.path})")
    return 0


def _compared(address: Address, record: KnownHosts, key: PublicKey, fingerprint: str) -> int:
    if fingerprint.rstrip("=") != key.fingerprint:
        say(f"{address} shows {key.fingerprint}, not {fingerprint}. Nothing was recorded.")
        return OURS
    replaced = False
    try:
        check_host_key(record, address, key)
    except HostKeyUnknown:
        record_host_key(record, address, key)
    except HostKeyChanged:
        record_host_key(record, address, key, replace=True)
        replaced = True
    instead = ", instead of another key" if replaced else ""
    show(f"{address} is known by {key.fingerprint}{instead} ({record.path})")
    return 0
