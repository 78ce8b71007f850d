r"""What follows `-L`, `-R`, `-D` and `-W` of ssh(1), as values; no I/O but the names of services in /etc/services.

    -L  [bind:]port:host:hostport   [bind:]port:remote_socket   local_socket:host:hostport   local_socket:remote_socket
    -R  the same, and [bind:]port alone, which is SOCKS on the other side
    -D  [bind:]port
    -W  host:port   remote_socket

A field in brackets is taken as it is, which IPv6 addresses need; elsewhere `\` takes the meaning from the next
character. A field with a slash is the path of a Unix socket. Without `bind`, or with `localhost`, a listener is on the
loopback addresses, and with `*` or an empty `bind` on all. Here unlike there, port 0 is any that is free for -L and -D
too, and `udp:` before -L and -R carries datagrams.
"""

from __future__ import annotations

import os
import socket
from typing import Final, Literal, NamedTuple, TypeAlias

from farhand_forwards.targets import MAX_HOST_SIZE, MAX_PORT, MAX_UNIX_PATH, ForwardTarget, InetTarget, UnixTarget

ForwardFlag: TypeAlias = Literal["-L", "-R", "-D"]
"""Which side listens: -L and -D this one, -R the other one; connections are made by the opposite side."""

_EXAMPLES: Final = {
    "-L": "-L 8080:localhost:80",
    "-R": "-R 8080:localhost:80",
    "-D": "-D 1080",
    "-W": "-W localhost:80",
}

_FORMS: Final = {
    "-L": "-L [bind:]port:host:hostport, where either side may be the path of a Unix socket",
    "-R": "-R [bind:]port:host:hostport, where either side may be the path of a Unix socket; -R [bind:]port is SOCKS",
    "-D": "-D [bind:]port",
    "-W": "-W host:port, or -W and the path of a Unix socket there",
}

_MAX_FIELDS: Final = 4


class SpecError(ValueError):
    """This is no forward. The text says why, and what to write instead."""


class ForwardSpec(NamedTuple):
    """One forward: `listen` where connections arrive, and lead them to `connect`, or to where they ask for by SOCKS."""

    flag: ForwardFlag
    listen: ForwardTarget
    connect: ForwardTarget | None
    """None for SOCKS."""

    def __str__(self) -> str:
        return f"{self.flag} {self.text}"

    @property
    def text(self) -> str:
        """The form that `parse_spec` takes."""
        udp = "udp:" if isinstance(self.listen, InetTarget) and self.listen.transport == "udp" else ""
        connect = "" if self.connect is None else f":{_end_text(self.connect)}"
        return f"{udp}{_end_text(self.listen, listens=True)}{connect}"


class _Field(NamedTuple):
    """What stands between two colons, and whether it is a path."""

    text: str
    is_path: bool


def parse_spec(flag: ForwardFlag, text: str) -> ForwardSpec:
    """Return the forward that `text` after `flag` stands for. Raises `SpecError`."""
    rest = text.lstrip()
    transport: Literal["tcp", "udp"] = "tcp"
    if rest.startswith("udp:"):
        rest, transport = rest.removeprefix("udp:"), "udp"
        if flag == "-D":
            raise _wrong(flag, text, f"SOCKS carries UDP without being told so; write -D {rest}")
    fields = _fields(flag, text, rest)
    listen, connect = _split(flag, text, fields)
    if transport == "udp" and (unix := next((field for field in fields if field.is_path), None)):
        raise _wrong(flag, text, f"{unix.text} is a Unix socket, and udp: needs host and port on both sides")
    where = _listener(flag, text, listen, transport)
    if connect:
        return ForwardSpec(flag, where, _target(flag, text, connect, transport))
    if transport == "udp":
        raise _wrong(flag, text, f"with udp: there is no SOCKS; write {flag} {text}:host:hostport")
    return ForwardSpec(flag, where, None)


def parse_stdio(text: str) -> ForwardTarget:
    """Return where the one connection of `-W` leads. Raises `SpecError`."""
    rest = text.lstrip()
    if rest.startswith("udp:"):
        raise _wrong("-W", text, "stdin and stdout have no datagrams; forward a port with -L udp:…")
    fields = _fields("-W", text, rest)
    if len(fields) == 1 and not fields[0].is_path:
        shown = fields[0].text
        meant = f"localhost:{shown}" if shown.isdecimal() else f"{shown}:PORT"
        raise _wrong("-W", text, f"host and port are needed; write -W {meant}")
    if len(fields) > 2 or (len(fields) == 2 and fields[0].is_path):
        raise _too_many("-W", text, fields)
    return _target("-W", text, fields, "tcp")


def _fields(flag: str, text: str, rest: str) -> list[_Field]:
    """Return what stands between the colons, as `parse_fwd_field` of OpenSSH reads it."""
    if not rest:
        raise SpecError(f"{flag} needs a forward, as in {_EXAMPLES[flag]}")
    fields: list[_Field] = []
    while rest and len(fields) <= _MAX_FIELDS:
        field, rest = _field(flag, text, rest)
        fields.append(field)
    if len(fields) > _MAX_FIELDS:
        raise _too_many(flag, text, fields)
    return fields


def _field(flag: str, text: str, rest: str) -> tuple[_Field, str]:
    """Return the first field of `rest`, and what comes after its colon."""
    if rest.startswith("["):
        field, closed, rest = rest[1:].partition("]")
        if not closed:
            raise _wrong(flag, text, f"a ] is missing after [{field}")
        if rest and not rest.startswith(":"):
            raise _wrong(flag, text, f"after [{field}] a colon must follow, not {rest[0]!r}")
        if rest == ":":
            raise _ends(flag, text)
        return _Field(field, "/" in field), rest[1:]
    characters: list[str] = []
    at = 0
    while at < len(rest) and rest[at] != ":":
        at += rest[at] == "\\"
        if at == len(rest):
            raise _wrong(flag, text, "nothing follows the \\ at its end; write \\\\ for a \\")
        characters.append(rest[at])
        at += 1
    if at == len(rest) - 1:
        raise _ends(flag, text)
    return _Field("".join(characters), "/" in characters), rest[at + 1 :]


def _split(flag: ForwardFlag, text: str, fields: list[_Field]) -> tuple[list[_Field], list[_Field]]:
    """Return the fields that say where to listen, and those that say where to connect; none for SOCKS."""
    _refuse_schemes(flag, text, fields)
    paths = [field.is_path for field in fields]
    ends = 1 if paths[0] else 2
    if flag == "-D" or (flag == "-R" and len(fields) <= 2 and not any(paths[1:])):
        if len(fields) > ends and flag == "-D":
            instead = "it only says where to listen, since SOCKS says where to connect; a fixed target is for -L"
            raise _wrong(flag, text, instead)
        if len(fields) <= ends:
            return fields, []
    match len(fields), paths:
        case (2, [_, True]) | (3, [True, False, False]):
            return fields[:1], fields[1:]
        case (3, [False, False, True]) | (4, [False, False, False, False]):
            return fields[:2], fields[2:]
        case (3, [False, False, False]):
            return fields[:1], fields[1:]
        case (1, _):
            raise _wrong(
                flag, text, f"it says where to listen, but not where to connect; write {flag} {text}:HOST:PORT"
            )
        case (2, [is_path, False]):
            first, second = fields
            if second.text.isdecimal() and (is_path or first.text.isdecimal()):
                meant = f"localhost:{second.text}"
            else:
                meant = f"{second.text}:PORT"
            raise _wrong(
                flag,
                text,
                f"the host or the port to connect to is missing; write {flag} {_written(first.text)}:{meant}",
            )
    raise _too_many(flag, text, fields)


def _refuse_schemes(flag: str, text: str, fields: list[_Field]) -> None:
    """Refuse what people write as in a URL, or as for docker(1)."""
    url = next((at for at, field in enumerate(fields) if field.text.startswith("//")), None)
    if url:
        before = [_written(field.text) for field in fields[: url - 1]]
        host = fields[url].text.lstrip("/").partition("/")[0]
        after = [_written(field.text) for field in fields[url + 1 :]] or ["PORT"]
        raise _wrong(flag, text, f"a URL has no place in it; write {flag} {':'.join([*before, host, *after])}")
    if fields[0].text == "tcp" and len(fields) > 1:
        without = ":".join(_written(field.text) for field in fields[1:])
        raise _wrong(flag, text, f"TCP is what is meant without a word; write {flag} {without}")
    last = fields[-1].text
    if last.endswith("/udp") and last.removesuffix("/udp").isdecimal():
        before = [_written(field.text) for field in fields[:-1]]
        meant = ":".join([*before, last.removesuffix("/udp")])
        raise _wrong(flag, text, f"UDP is asked for by udp: in front; write {flag} udp:{meant}")


def _listener(flag: ForwardFlag, text: str, fields: list[_Field], transport: Literal["tcp", "udp"]) -> ForwardTarget:
    if fields[0].is_path:
        return _unix(flag, text, fields[0])
    bind, port = fields if len(fields) == 2 else (None, fields[0])
    host = "" if bind is None or bind.text == "localhost" else bind.text or "*"
    _check_host(flag, text, host, "the address to listen on")
    return InetTarget(host, _port(flag, text, port, transport, "the port to listen on", lowest=0), transport)


def _target(flag: str, text: str, fields: list[_Field], transport: Literal["tcp", "udp"]) -> ForwardTarget:
    if len(fields) == 1:
        return _unix(flag, text, fields[0])
    host, port = fields
    if not host.text:
        port_text = port.text if port.text.isdecimal() else "PORT"
        raise _wrong(
            flag, text, f"the host to connect to is empty; for that machine itself write localhost:{port_text}"
        )
    _check_host(flag, text, host.text, "the host to connect to")
    return InetTarget(host.text, _port(flag, text, port, transport, "the port to connect to", lowest=1), transport)


def _unix(flag: str, text: str, field: _Field) -> UnixTarget:
    path = os.fsencode(field.text)
    if len(path) > MAX_UNIX_PATH:
        raise _wrong(flag, text, f"the path {field.text} has more than {MAX_UNIX_PATH} bytes, which no Unix socket has")
    return UnixTarget(path)


def _check_host(flag: str, text: str, host: str, what: str) -> None:
    if len(host) > MAX_HOST_SIZE:
        raise _wrong(flag, text, f"{what} has more than {MAX_HOST_SIZE} characters")
    if "/" in host:
        raise _wrong(flag, text, f"{what}, {host}, has a slash, which only paths of Unix sockets have")
    if wrong := next((char for char in host if char.isspace() or not char.isprintable()), None):
        raise _wrong(flag, text, f"{what}, {host!r}, has {wrong!r} in it")
    if "@" in host:
        raise _wrong(flag, text, f"a forward has no user; write {host.rpartition('@')[2]} for {host}")


def _port(flag: str, text: str, field: _Field, transport: Literal["tcp", "udp"], what: str, *, lowest: int) -> int:
    digits = field.text
    if digits.isascii() and digits.isdecimal():
        if len(digits.lstrip("0")) <= 5 and lowest <= int(digits) <= MAX_PORT:
            return int(digits)
        raise _wrong(flag, text, f"{what} must be {lowest} to {MAX_PORT}, not {digits}")
    if not digits:
        raise _wrong(flag, text, f"{what} is empty; {_form(flag)}")
    try:
        return socket.getservbyname(digits, transport)
    except (OSError, ValueError):
        reason = f"{what}, {digits!r}, is no number, and no service in /etc/services"
        raise _wrong(flag, text, f"{reason}; {_form(flag)}") from None


def _too_many(flag: str, text: str, fields: list[_Field]) -> SpecError:
    if len(fields) > _MAX_FIELDS or not all(field.text for field in fields):
        example = "-W [::1]:80" if flag == "-W" else f"{flag} [::1]:8080:[2001:db8::1]:80"
        if flag == "-D":
            example = "-D [::1]:1080"
        return _wrong(flag, text, f"it has too many colons; write an IPv6 address in brackets, as in {example}")
    return _wrong(flag, text, _form(flag))


def _ends(flag: str, text: str) -> SpecError:
    return _wrong(flag, text, f"nothing follows its last colon; {_form(flag)}")


def _form(flag: str) -> str:
    return f"write {_FORMS[flag]}"


def _wrong(flag: str, text: str, reason: str) -> SpecError:
    return SpecError(f"{flag} {text}: {reason}")


def _written(text: str) -> str:
    """Return a field as it can be written between colons."""
    if (":" in text and "]" not in text) or text == "udp":
        return f"[{text}]"
    written = text.replace("\\", "\\\\").replace(":", "\\:")
    return f"\\{written}" if written[:1] == "[" or written[:1].isspace() else written


def _end_text(end: ForwardTarget, *, listens: bool = False) -> str:
    if isinstance(end, UnixTarget):
        return _written(os.fsdecode(end.path))
    if listens and not end.host:
        return str(end.port)
    return f"{_written(end.host)}:{end.port}"
