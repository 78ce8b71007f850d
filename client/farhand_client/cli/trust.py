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
from farhand_client.ui.exitcodes import EXIT_FAILURE
from farhand_client.ui.printing import print_message, print_output
from farhand_client.ui.prompts import confirm_host_key
from farhand_protocol.sshformat import PublicKey

from .values import positive_seconds


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="farhand trust",
        description="Put a service's key on record. With FINGERPRINT, as `farhandd host-key` prints it there, only "
        "that key is taken, also instead of another; without, you are asked.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--connect-timeout", metavar="S", type=positive_seconds, default=30.0, help="seconds (default 30)"
    )
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
        if not await confirm_host_key(unknown):
            print_message(str(unknown))
            return EXIT_FAILURE
        record_host_key(record, address, key)
    print_output(f"{address} is known by {key.fingerprint} ({record.path})")
    return 0


def _compared(address: Address, record: KnownHosts, key: PublicKey, fingerprint: str) -> int:
    if fingerprint.rstrip("=") != key.fingerprint:
        print_message(f"{address} shows {key.fingerprint}, not {fingerprint}. Nothing was recorded.")
        return EXIT_FAILURE
    replaced = False
    try:
        check_host_key(record, address, key)
    except HostKeyUnknown:
        record_host_key(record, address, key)
    except HostKeyChanged:
        record_host_key(record, address, key, replace=True)
        replaced = True
    instead = ", instead of another key" if replaced else ""
    print_output(f"{address} is known by {key.fingerprint}{instead} ({record.path})")
    return 0
