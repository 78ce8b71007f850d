"""authorized_keys in OpenSSH's syntax (sshd(8), AUTHORIZED_KEYS FILE FORMAT). Pure.

Stricter than sshd in one thing: an option that is not one of OPTIONS refuses its key, even where it would only
take away what Farhand does not have. A line is never more permissive than it says.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from farhand_protocol import sshformat
from farhand_protocol.sshformat import PublicKey, SSHFormatError
from farhand_server.auth.sources import Source, parse_sources

OPTIONS = ("restrict", "no-pty", "command", "environment", "expiry-time", "from")

# sshd's bound for a line (sshd(8)); it holds an RSA key of 8192 bits and 6 KiB of options.
MAX_LINE = 8192
# A team's worth of keys; each line costs every login some 10 µs.
MAX_LINES = 2000
# MAX_LINES of ordinary keys with comments and options, with room.
MAX_SIZE = 512 * 1024

# Value: anything but a quote, where \" stands for one. A backslash before anything else is itself.
_OPTION = re.compile(rb'([A-Za-z0-9-]+)(?:="((?:\\"|\\(?!")|[^"\\])*)")?')
_ENVIRONMENT_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?(Z?)")


@dataclass(frozen=True, slots=True)
class KeyOptions:
    """What a line allows its key. `restrict` takes away whatever can be taken away, the terminal included."""

    restricted: bool = False
    no_pty: bool = False
    command: bytes | None = None
    """Run by the user's shell in place of every request; empty is a command too."""
    environment: tuple[tuple[bytes, bytes], ...] = ()
    expires: float | None = None
    """Seconds since the epoch after which the key is refused."""
    sources: tuple[Source, ...] | None = None


@dataclass(frozen=True, slots=True)
class AuthorizedKey:
    """One good line."""

    line: int
    key: PublicKey
    options: KeyOptions


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """One line that admits nobody, and why, for the log and for `farhandd check`."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class AuthorizedKeys:
    """A file's lines in their order."""

    keys: tuple[AuthorizedKey, ...]
    refused: tuple[RefusedLine, ...]


class AuthorizedKeysError(Exception):
    """The file as a whole cannot be used; the message says why."""


def parse_authorized_keys(data: bytes) -> AuthorizedKeys:
    """Parse a whole file. A bad line is reported in `refused` and does not spoil the others.

    Raises AuthorizedKeysError for a file of more than MAX_SIZE bytes or MAX_LINES lines.
    """
    if len(data) > MAX_SIZE:
        raise AuthorizedKeysError(f"{len(data)} bytes; at most {MAX_SIZE} are read")
    lines = data.split(b"\n")
    if len(lines) > MAX_LINES + 1:
        raise AuthorizedKeysError(f"more than {MAX_LINES} lines")
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
    if len(line) > MAX_LINE:
        raise ValueError(f"the line is longer than {MAX_LINE} bytes")
    if b"\0" in line:
        raise ValueError("the line holds a NUL byte")
    fields = line.split(None, 2)
    # The base64 of every SSH key starts with AAAA, the high bytes of its first length.
    if len(fields) > 1 and fields[1].startswith(b"AAAA") and b"=" not in fields[0]:
        return _parse_key(fields), KeyOptions()
    end = _end_of_options(line)
    key_fields = line[end:].split(None, 2)
    if len(key_fields) < 2:
        raise ValueError("no key on the line; it has the form: [options] keytype base64-key [comment]")
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
    flags: set[str] = set()
    values: dict[str, list[bytes]] = {}
    at = 0
    while True:
        found = _OPTION.match(text, at)
        if found is None:
            raise ValueError('the options are not a comma-separated list of NAME and NAME="VALUE"')
        name, value = found[1].decode("ascii").lower(), found[2]
        if name not in OPTIONS:
            raise ValueError(f"option {name!r} is not supported; supported are {', '.join(OPTIONS)}")
        if (value is None) != (name in ("restrict", "no-pty")):
            raise ValueError(f'option {name!r} {"needs" if value is None else "takes no"} ="VALUE"')
        if value is None:
            flags.add(name)
        else:
            values.setdefault(name, []).append(value.replace(b'\\"', b'"'))
        at = found.end()
        if at == len(text):
            break
        if text[at : at + 1] != b",":
            raise ValueError(f"option {name!r} is followed by something other than a comma")
        at += 1
    for name in ("command", "from"):
        if len(values.get(name, ())) > 1:
            raise ValueError(f"option {name!r} stands twice")
    restricted = "restrict" in flags
    return KeyOptions(
        restricted=restricted,
        no_pty=restricted or "no-pty" in flags,
        command=next(iter(values.get("command", ())), None),
        environment=_parse_environment(values.get("environment", [])),
        expires=min((_parse_time(value) for value in values.get("expiry-time", ())), default=None),
        sources=_parse_from(values["from"][0]) if "from" in values else None,
    )


def _parse_environment(items: list[bytes]) -> tuple[tuple[bytes, bytes], ...]:
    variables: dict[bytes, bytes] = {}
    for item in items:
        name, equals, value = item.partition(b"=")
        if not equals or not _ENVIRONMENT_NAME.fullmatch(name):
            raise ValueError('an environment option has the form environment="NAME=value"')
        variables.setdefault(name, value)  # the first of a name stands, as in sshd
    return tuple(variables.items())


def _parse_time(value: bytes) -> float:
    """YYYYMMDD[Z] or YYYYMMDDHHMM[SS][Z], in the machine's time zone without the Z (sshd(8))."""
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


def _parse_from(value: bytes) -> tuple[Source, ...]:
    try:
        return parse_sources(value.decode("ascii"))
    except UnicodeDecodeError:
        raise ValueError("from: the list is not ASCII") from None
    except ValueError as error:
        raise ValueError(f"from: {error}") from None
