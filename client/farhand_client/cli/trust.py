"""`farhand trust`, `ping` and `status`: who a service is, how fast it answers, and how it is."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from farhand_client.config import config_directory
from farhand_client.connection.address import Address, resolve
from farhand_client.connection.deadline import connect_deadline
from farhand_client.connection.dial import check_host_key, fetch_key, record_host_key
from farhand_client.errors import AddressError, HostKeyChanged, HostKeyUnknown
from farhand_client.hops import HopPassage
from farhand_client.logins import ConnectOptions
from farhand_client.trust.known_hosts import KnownHosts
from farhand_client.ui.exitcodes import EXIT_FAILURE, EXIT_FAULTS
from farhand_client.ui.printing import print_json, print_message, print_output
from farhand_client.ui.prompts import ask_passphrase, confirm_host_key, lend_terminal
from farhand_protocol.sentences import counted, printable
from farhand_protocol.shares import hold_lines, share_lines

from .default_host import parse_with_host
from .loop import run_loop
from .options import add_connection_options, add_host, add_via, command_parser
from .values import fingerprint, positive_duration


def trust_command(arguments: Sequence[str]) -> int:
    """Run `farhand trust` and return the exit code."""
    parser = command_parser(
        "trust",
        "[HOST] [FINGERPRINT]",
        "Record a service's host key. With FINGERPRINT, as `farhandd host-key` prints it on that machine, only that "
        "key is accepted, and it replaces a recorded one. Without it, you are asked.",
    )
    parser.add_argument(
        "--connect-timeout",
        metavar="TIME",
        type=positive_duration,
        default=30.0,
        help="how long to wait for the key (default 30s)",
    )
    add_via(parser)
    add_host(parser)
    parser.add_argument(
        "fingerprint", metavar="FINGERPRINT", type=fingerprint, nargs="?", help="the expected fingerprint (SHA256:…)"
    )
    options = parse_with_host(parser, arguments)
    config = config_directory()
    address = resolve(options.host, config=config / "config.toml", via=options.via)
    if address.ssh:
        raise AddressError(f"{address} is reached by ssh, which has host keys of its own; connect to it directly")
    if address.socket is not None:
        raise AddressError(f"{address} is a socket on this machine, which needs no host key; connect to it directly")
    known_hosts = KnownHosts(config / "known_hosts")
    return run_loop(_trust(address, known_hosts, options.fingerprint, options.connect_timeout))


def ping_command(arguments: Sequence[str]) -> int:
    """Run `farhand ping` and return the exit code."""
    description = "Measure round-trip times and show who answers: account, host, version, features."
    parser = command_parser("ping", "[HOST]", description)
    add_connection_options(parser)
    parser.add_argument(
        "-c", "--count", metavar="N", type=_count, default=3, help="number of round trips (1 to 1000, default 3)"
    )
    add_host(parser)
    return run_loop(_ping(parse_with_host(parser, arguments)))


def status_command(arguments: Sequence[str]) -> int:
    """Run `farhand status` and return the exit code."""
    description = (
        "Ask a service how it is. Exit code: 0 without faults; 1 with faults, which are printed; 255 no answer."
    )
    parser = command_parser("status", "[HOST]", description)
    add_connection_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_host(parser)
    return run_loop(_status(parse_with_host(parser, arguments)))


async def _trust(address: Address, known_hosts: KnownHosts, expected: str | None, timeout: float) -> int:
    if not address.via:
        return await _trust_by(address, known_hosts, expected, timeout, None)
    options = ConnectOptions(
        timeout=timeout,
        config=known_hosts.path.parent,
        confirm=confirm_host_key,
        passphrase=ask_passphrase,
        touch=print_message,
        lend_terminal=lend_terminal,
    )
    passage = HopPassage(address, options)
    try:
        return await _trust_by(address, known_hosts, expected, timeout, passage)
    finally:
        await passage.release()


async def _trust_by(
    address: Address, known_hosts: KnownHosts, expected: str | None, timeout: float, passage: HopPassage | None
) -> int:
    async with connect_deadline(timeout) as deadline:
        if passage is not None:
            await passage.prepare(deadline)
        key = await fetch_key(address, deadline, passage)
        if expected is not None and expected != key.fingerprint:
            print_message(f"{address} has the key {key.fingerprint}, not {expected}; nothing was recorded")
            return EXIT_FAILURE
        replaced = False
        try:
            await check_host_key(known_hosts, address, key, deadline)
        except HostKeyUnknown as unknown:
            if expected is None and not await deadline.person(confirm_host_key(unknown)):
                print_message(str(unknown))
                return EXIT_FAILURE
            await record_host_key(known_hosts, address, key, deadline)
        except HostKeyChanged:
            if expected is None:
                raise
            await record_host_key(known_hosts, address, key, deadline, replace=True)
            replaced = True
    suffix = ", which replaces another key" if replaced else ""
    print_output(f"the host key of {address} is {key.fingerprint}{suffix} ({known_hosts.path})")
    return 0


async def _ping(options: argparse.Namespace) -> int:
    from .connection import open_connection

    async with open_connection(options.host, options) as client:
        features = ", ".join(client.features) or "none"
        print_output(f"{client.name}: {printable(f'{client.user} on {client.host}')}")
        print_output(printable(f"{client.software}, protocol {client.version}, features: {features}"))
        times = []
        for _ in range(options.count):
            times.append(1000 * await client.ping())
            print_output(f"round trip {times[-1]:.3f} ms")
        print_output(f"min {min(times):.3f} ms, mean {sum(times) / len(times):.3f} ms, max {max(times):.3f} ms")
    return 0


async def _status(options: argparse.Namespace) -> int:
    from .connection import open_connection

    async with open_connection(options.host, options) as client:
        status = await client.status()
        if options.json:
            print_json(status.model_dump(mode="json", exclude={"type"}))
        else:
            state = "draining" if status.draining else "serving"
            software = printable(client.software)
            print_output(f"{client.name}: {software}, pid {status.pid}: {state} for {status.uptime:.0f} s")
            print_output(f"{counted(status.runs, 'run')}, {counted(status.connections, 'connection')}")
            for fault in status.faults:
                print_output(f"fault: {printable(fault)}")
            for line in (*hold_lines(status.holds), *share_lines(status.shares)):
                print_output(printable(line))
    return EXIT_FAULTS if status.faults else 0


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:5]) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1000")
    return int(text)
