"""The `from=` list of authorized_keys: which addresses a key is good from (sshd(8), ssh_config(5) PATTERNS)."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from farhand_protocol import sshformat

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Source:
    """One item of the list: a network, or a pattern for the address as text."""

    negated: bool
    network: IPv4Network | IPv6Network | None
    pattern: str

    def matches(self, address: Address) -> bool:
        """Whether the item, apart from its negation, is about this address."""
        if self.network is not None:
            return address in self.network
        return sshformat.matches_pattern(str(address), self.pattern)


def parse_sources(text: str) -> tuple[Source, ...]:
    """Parse a comma-separated list of addresses, CIDR networks and patterns with `*` and `?`, `!` negating.

    Names are never looked up, so a pattern for a host name matches nothing.
    Raises ValueError for an empty item, and for a network that is none or has host bits set.
    """
    return tuple(_parse_source(item) for item in text.split(","))


def _parse_source(item: str) -> Source:
    negated = item.startswith("!")
    pattern = item[negated:].strip().lower()
    if not pattern:
        raise ValueError("the list has an empty item")
    _, slash, length = pattern.partition("/")
    try:
        # ip_network() would also take a netmask or a hostmask after the slash; sshd takes a length only.
        if slash and not (length.isascii() and length.isdigit()):
            raise ValueError
        network = ip_network(pattern)
    except ValueError:
        if slash:
            raise ValueError(f"{item!r} is not a network: ADDRESS/LENGTH with no bits set after LENGTH") from None
        network = None
    return Source(negated, network, pattern)


def admits(sources: tuple[Source, ...], address: Address | None) -> bool:
    """Whether an address is matched by an item and by no negated one. No address (a Unix socket) is in no list.

    An IPv4 address that arrived in IPv6 form (::ffff:192.0.2.1) counts as IPv4; the scope of a link-local
    address counts for patterns only.
    """
    if address is None:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    matching = [source for source in sources if source.matches(address)]
    return bool(matching) and not any(source.negated for source in matching)


def parse_address(text: str) -> Address | None:
    """An IP address, or None where the text is none."""
    try:
        return ip_address(text)
    except ValueError:
        return None
