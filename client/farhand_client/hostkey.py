"""Whether a service's key is the one on record, and what to tell the user where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .address import Address
from .errors import ConnectError, HostKeyChanged, HostKeyRevoked, HostKeyUnknown

if TYPE_CHECKING:
    from farhand_protocol.sshformat import PublicKey

    from .trust.known_hosts import KnownHosts


def check(record: KnownHosts, address: Address, key: PublicKey) -> None:
    """Return where `record` has `key` for the service.

    Raises `HostKeyUnknown`, `HostKeyChanged`, `HostKeyRevoked`, and `ConnectError` for a record that cannot be read.
    """
    from .trust.errors import KnownHostsError

    try:
        found = record.check(address.host, address.port, key)
    except KnownHostsError as error:
        raise ConnectError(str(error)) from None
    shown = key.fingerprint
    where = f"{found.path}:{found.line}"
    match found.state:
        case "known":
            return
        case "unknown":
            raise HostKeyUnknown(
                f"the key of {address} is not on record, so it may be anyone's: {shown}. Compare it with what "
                f"`farhandd host-key` prints there, then: farhand trust {address} {shown}",
                name=found.name,
                key=key,
            )
        case "revoked":
            raise HostKeyRevoked(
                f"{address} shows the key {shown}, which {where} says is revoked. Nothing was sent. Do not connect.",
                name=found.name,
                key=key,
            )
        case "changed":
            raise HostKeyChanged(
                f"THE KEY OF {address} HAS CHANGED. Someone may be between you and the service, or it has a new key.\n"
                f"  it shows   {shown}\n"
                f"  on record  {found.stored or 'a key that cannot be read'} ({where})\n"
                "Nothing was sent. Ask whoever runs the service for its fingerprint (`farhandd host-key`). "
                f"If it is the one shown: farhand trust {address} {shown}",
                name=found.name,
                key=key,
            )


def remember(record: KnownHosts, address: Address, key: PublicKey, *, replace: bool = False) -> None:
    """Put a key on record, with `replace` instead of another one. Raises `ConnectError` where that cannot be done."""
    from .trust.errors import KnownHostsError

    try:
        record.add(address.host, address.port, key, replace=replace)
    except KnownHostsError as error:
        raise ConnectError(str(error)) from None
