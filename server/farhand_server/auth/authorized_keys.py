"""Parses authorized_keys in OpenSSH's syntax (sshd(8), AUTHORIZED_KEYS FILE FORMAT). Without I/O.

It is stricter than sshd in one respect: an option that is not in SUPPORTED_OPTIONS makes its key unusable. A line never
allows more than it says.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from farhand_protocol import sshformat
from farhand_protocol.sshformat import PublicKey, SSHFormatError
from farhand_protocol.wildcards import matches_pattern
from farhand_server.forwards.rules import Permission, parse_permission

IPAddress = IPv4Address | IPv6Address

_PERMITTED = {"pty": "pty", "port-forwarding": "ports", "agent-forwarding": "agent"}
"""The options that give back what `restrict` has taken, and with `no-` take it themselves. As in sshd(8), the last one
that is about something counts."""

_NOT_OFFERED = ("x11-forwarding", "no-x11-forwarding", "user-rc", "no-user-rc")
"""Options about what Farhand does not offer, so that they are honoured whatever they say."""

_OF_SECURITY_KEYS = ("touch-required", "no-touch-required", "verify-required", "no-verify-required")
"""Options about what a security key's signature must show. As in sshd(8), other keys ignore them."""

_FLAGS = ("restrict", *_PERMITTED, *(f"no-{name}" for name in _PERMITTED), *_OF_SECURITY_KEYS, *_NOT_OFFERED)

_VALUES = ("command", "environment", "expiry-time", "from", "permitopen", "permitlisten")

SUPPORTED_OPTIONS = (*_FLAGS, *_VALUES)

MAX_KEY_LINE = 8192
"""Maximum bytes of a line, the same as sshd's (sshd(8)): enough for an RSA key of 8192 bits and 6 KiB of options."""

MAX_KEY_LINES = 2000
"""Maximum number of lines: more keys than any team has. Each line costs 14 µs when the file has changed."""

MAX_KEY_FILE = 512 * 1024
"""Maximum bytes of a file: MAX_KEY_LINES ordinary keys with comments and options, and some more."""

# The value: anything but a quote, which is written \". A backslash before any other character is literal.
_OPTION = re.compile(rb'([A-Za-z0-9-]+)(?:="((?:\\"|\\(?!")|[^"\\])*)")?')
_ENVIRONMENT_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?(Z?)")


@dataclass(frozen=True, slots=True)
class Source:
    """One item of a `from=` list: a network, or a pattern for the address as text (sshd(8), ssh_config(5) PATTERNS)."""

    negated: bool
    network: IPv4Network | IPv6Network | None
    pattern: str

    def matches(self, address: IPAddress) -> bool:
        """Whether the address matches, regardless of `negated`."""
        if self.network is not None:
            return address in self.network
        return matches_pattern(str(address), self.pattern)


@dataclass(frozen=True, slots=True)
class KeyOptions:
    """What a line allows its key to do. `restrict` forbids everything that can be forbidden, but for what an option
    after it allows again. `restricted` tells whether it is given at all."""

    restricted: bool = False
    no_pty: bool = False
    no_ports: bool = False
    """Whether the key may forward no connections and listeners (`no-port-forwarding`)."""
    no_agent: bool = False
    """Whether the key may not forward an agent (`no-agent-forwarding`)."""
    command: bytes | None = None
    """A command that the user's shell runs in place of every request. An empty text is a command, too."""
    environment: tuple[tuple[bytes, bytes], ...] = ()
    expires: float | None = None
    """The key is refused after this time, in seconds since 1970."""
    sources: tuple[Source, ...] | None = None
    permit_open: tuple[Permission, ...] | None = None
    """The only targets to which the key may forward connections."""
    permit_listen: tuple[Permission, ...] | None = None
    """The only places where the key may listen."""
    no_touch: bool = False
    """Whether a security key's signature counts without a touch (`no-touch-required`)."""
    verify: bool = False
    """Whether a security key must have checked who touches it, by a PIN or a finger (`verify-required`)."""


@dataclass(frozen=True, slots=True)
class AuthorizedKey:
    """A valid line: its number, counted from 1, the key and its options."""

    line: int
    key: PublicKey
    options: KeyOptions


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line that cannot be used, and the reason, for the log."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class AuthorizedKeys:
    """The lines of a file, in order."""

    keys: tuple[AuthorizedKey, ...]
    refused: tuple[RefusedLine, ...]


class AuthorizedKeysError(Exception):
    """The file as a whole cannot be used; the message says why."""


def parse_authorized_keys(data: bytes) -> AuthorizedKeys:
    """Parse a file. A bad line is reported in `refused` and does not affect the other lines.

    Raises AuthorizedKeysError for a file of more than MAX_KEY_FILE bytes or MAX_KEY_LINES lines.
    """
    if len(data) > MAX_KEY_FILE:
        raise AuthorizedKeysError(f"the file has {len(data)} bytes; the maximum is {MAX_KEY_FILE}")
    lines = data.split(b"\n")
    if len(lines) > MAX_KEY_LINES + 1:
        raise AuthorizedKeysError(f"the file has more than {MAX_KEY_LINES} lines")
    keys, refused = [], []
    for number, line in enumerate(lines, 1):
        stripped = line.strip(b" \t\r")
        if not stripped or stripped.startswith(b"#"):
            continue
        try:
            key, options = _parse_line(stripped)
        except ValueError as error:
            refused.append(RefusedLine(number, str(error)))
        else:
            keys.append(AuthorizedKey(number, key, options))
    return AuthorizedKeys(tuple(keys), tuple(refused))


def _parse_line(line: bytes) -> tuple[PublicKey, KeyOptions]:
    if len(line) > MAX_KEY_LINE:
        raise ValueError(f"the line is longer than {MAX_KEY_LINE} bytes")
    if b"\0" in line:
        raise ValueError("the line contains a NUL byte")
    fields = line.split(None, 2)
    # The base64 of every SSH key starts with AAAA, the high-order bytes of its first length field.
    if len(fields) > 1 and fields[1].startswith(b"AAAA") and b"=" not in fields[0]:
        return _parse_key(fields), KeyOptions()
    end = _end_of_options(line)
    key_fields = line[end:].split(None, 2)
    if len(key_fields) < 2:
        raise ValueError("the line has no key; its form is: [options] keytype base64-key [comment]")
    options = _parse_options(line[:end])
    return _parse_key(key_fields), options


def _parse_key(fields: list[bytes]) -> PublicKey:
    try:
        return sshformat.parse_public_key_fields(fields[0].decode("ascii"), fields[1].decode("ascii"))
    except UnicodeDecodeError:
        raise SSHFormatError("the key is not ASCII") from None


def _end_of_options(line: bytes) -> int:
    quoted, at = False, 0
    while at < len(line) and (quoted or line[at] not in b" \t"):
        if line[at : at + 2] == b'\\"':
            at += 1
        elif line[at] == ord('"'):
            quoted = not quoted
        at += 1
    if quoted:
        raise ValueError("an option's closing quote is missing")
    return at


def _parse_options(text: bytes) -> KeyOptions:
    forbidden: set[str] = set()
    restricted, required = False, {"touch": True, "verify": False}
    values: dict[str, list[bytes]] = {}
    at = 0
    while True:
        found = _OPTION.match(text, at)
        if found is None:
            raise ValueError('the options are not a comma-separated list of NAME and NAME="VALUE"')
        name, value = found[1].decode("ascii").lower(), found[2]
        if name not in SUPPORTED_OPTIONS:
            raise ValueError(f"option {name!r} is not supported; supported are {', '.join(SUPPORTED_OPTIONS)}")
        if (value is None) != (name in _FLAGS):
            raise ValueError(f'option {name!r} {"needs" if value is None else "takes no"} ="VALUE"')
        if name == "restrict":
            restricted = True
            forbidden.update(_PERMITTED.values())
        elif name in _OF_SECURITY_KEYS:
            required[name.removeprefix("no-").removesuffix("-required")] = not name.startswith("no-")
        elif name in _PERMITTED:
            forbidden.discard(_PERMITTED[name])
        elif name.removeprefix("no-") in _PERMITTED:
            forbidden.add(_PERMITTED[name.removeprefix("no-")])
        elif value is not None:
            values.setdefault(name, []).append(value.replace(b'\\"', b'"'))
        at = found.end()
        if at == len(text):
            break
        if text[at : at + 1] != b",":
            raise ValueError(f"option {name!r} must be followed by a comma")
        at += 1
    for name in ("command", "from"):
        if len(values.get(name, ())) > 1:
            raise ValueError(f"option {name!r} is given twice")
    return KeyOptions(
        restricted=restricted,
        no_pty="pty" in forbidden,
        no_ports="ports" in forbidden,
        no_agent="agent" in forbidden,
        command=next(iter(values.get("command", ())), None),
        environment=_parse_environment(values.get("environment", [])),
        expires=min((_parse_time(value) for value in values.get("expiry-time", ())), default=None),
        sources=_parse_sources_value(values["from"][0]) if "from" in values else None,
        permit_open=_parse_permissions(values, "permitopen"),
        permit_listen=_parse_permissions(values, "permitlisten"),
        no_touch=not required["touch"],
        verify=required["verify"],
    )


def _parse_permissions(values: Mapping[str, list[bytes]], name: str) -> tuple[Permission, ...] | None:
    if name not in values:
        return None
    try:
        found = [parse_permission(value.decode("ascii"), listener=name == "permitlisten") for value in values[name]]
    except UnicodeDecodeError:
        raise ValueError(f"{name}: not ASCII") from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return tuple(dict.fromkeys(found))


def _parse_environment(items: list[bytes]) -> tuple[tuple[bytes, bytes], ...]:
    variables: dict[bytes, bytes] = {}
    for item in items:
        name, equals, value = item.partition(b"=")
        if not equals or not _ENVIRONMENT_NAME.fullmatch(name):
            raise ValueError('an environment option has the form environment="NAME=value"')
        variables.setdefault(name, value)  # the first value for a name wins, as in sshd
    return tuple(variables.items())


def _parse_time(value: bytes) -> float:
    """Parse YYYYMMDD[Z] or YYYYMMDDHHMM[SS][Z]. Without the Z, the time is in the machine's time zone (sshd(8))."""
    text = value.decode("ascii", "replace")
    found = _TIME.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC if found[7] else None)
        return moment.timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"expiry-time {text!r} is not a date YYYYMMDD[Z] or time YYYYMMDDHHMM[SS][Z]") from None


def _parse_sources_value(value: bytes) -> tuple[Source, ...]:
    try:
        return parse_sources(value.decode("ascii"))
    except UnicodeDecodeError:
        raise ValueError("from: the list is not ASCII") from None
    except ValueError as error:
        raise ValueError(f"from: {error}") from None


def parse_sources(text: str) -> tuple[Source, ...]:
    """Parse a comma-separated list of addresses, CIDR networks and patterns with `*` and `?`; `!` negates an item.

    Host names are never looked up, so a pattern for one matches nothing. Raises ValueError for an empty item, and for a
    network that is malformed or has host bits set.
    """
    return tuple(_parse_source(item) for item in text.split(","))


def _parse_source(item: str) -> Source:
    negated = item.startswith("!")
    pattern = item[negated:].strip().lower()
    if not pattern:
        raise ValueError("the list has an empty item")
    _, slash, length = pattern.partition("/")
    try:
        # ip_network() would also accept a netmask or hostmask after the slash; sshd accepts only a length.
        if slash and not (length.isascii() and length.isdigit()):
            raise ValueError
        network = ip_network(pattern)
    except ValueError:
        if slash:
            raise ValueError(f"{item!r} is not a network: ADDRESS/LENGTH with no bits set after LENGTH") from None
        network = None
    return Source(negated, network, pattern)


def address_allowed(sources: tuple[Source, ...], address: IPAddress | None) -> bool:
    """Return whether an address matches an item and no negated item. None (a Unix socket) matches nothing.

    An IPv4 address that arrived in IPv6 form (::ffff:192.0.2.1) counts as IPv4; the scope of a link-local
    address counts only for patterns.
    """
    if address is None:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    matching = [source for source in sources if source.matches(address)]
    return bool(matching) and not any(source.negated for source in matching)
