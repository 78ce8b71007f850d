"""Where connections lead, where listeners listen, and why a connection was refused; no I/O.

Each has one form in JSON, which is all that the frames carry. `from_json` takes what the other side has sent: it
refuses unknown keys, and everything out of range, with `TargetError`.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

from farhand_protocol.values import BadValue, argument_from_json, bytes_to_json

MAX_HOST_SIZE: Final = 255
"""Characters of a host: a name in the DNS has at most 253 (RFC 1035, section 2.3.4), an address with a zone fewer."""

MAX_PORT: Final = 65535

MAX_UNIX_PATH: Final = 107
"""Bytes of the path of a Unix socket (unix(7))."""

MAX_REFUSAL_SIZE: Final = 1000
"""Characters of the sentence that says why something was refused."""

Transport: TypeAlias = Literal["tcp", "udp"]

ForwardCause: TypeAlias = Literal["refused", "unreachable", "unresolved", "timeout", "denied", "busy", "failed"]
"""Why there is no connection or no listener: the target refused it (ECONNREFUSED, ENOENT of a Unix socket); there is no
way to it; its name has no address; it did not answer; the policy or the key denies it; a limit is reached or the
address is in use; anything else."""

FORWARD_CAUSES: Final[tuple[ForwardCause, ...]] = get_args(ForwardCause)


class TargetError(ValueError):
    """This is no target, or none that can be. The text says why."""


class ForwardRefused(Exception):
    """The other side, or this one, does not connect or listen; `cause` says why in one word, the text in a sentence."""

    def __init__(self, cause: ForwardCause, message: str) -> None:
        super().__init__(cause, message)
        self.cause: Final = cause

    def __str__(self) -> str:
        return str(self.args[1])


class InetTarget(NamedTuple):
    """A host, by name or address, and a port, 1 to 65535 (0, in a listener's address, means any that is free).

    With the transport `udp` each message is one datagram. For a listener an empty host means the loopback addresses,
    and `*` all addresses.
    """

    host: str
    port: int
    transport: Transport = "tcp"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host or "localhost"
        return f"{'udp:' if self.transport == 'udp' else ''}{host}:{self.port}"


class UnixTarget(NamedTuple):
    """The path of a Unix stream socket. A relative one begins at the home directory of the user there. For a listener,
    an empty path means a new one in a directory that only the user can enter."""

    path: bytes

    def __str__(self) -> str:
        return self.path.decode(errors="backslashreplace")


ForwardTarget: TypeAlias = InetTarget | UnixTarget


def target_to_json(target: ForwardTarget) -> dict[str, Any]:
    """Return the form in frames."""
    if isinstance(target, UnixTarget):
        return {"path": bytes_to_json(target.path)}
    return target._asdict()


def target_from_json(value: Any, *, listener: bool = False) -> ForwardTarget:
    """Return the target that the other side has sent; with `listener`, where to listen. Raises `TargetError`."""
    if not isinstance(value, dict):
        raise TargetError("a target must be an object")
    if value.keys() == {"path"}:
        try:
            path = argument_from_json(value["path"])
        except BadValue as error:
            raise TargetError(f"the path of a target is not valid: {error.reason}") from None
        if len(path) > MAX_UNIX_PATH or not (path or listener):
            raise TargetError(f"the path of a Unix socket must have 1 to {MAX_UNIX_PATH} bytes")
        return UnixTarget(path)
    if value.keys() != {"host", "port", "transport"}:
        raise TargetError("a target must have either path, or host, port and transport")
    host, port, transport = value["host"], value["port"], value["transport"]
    if not isinstance(host, str) or not (0 if listener else 1) <= len(host) <= MAX_HOST_SIZE or not host.isprintable():
        raise TargetError(f"the host of a target must be 1 to {MAX_HOST_SIZE} printable characters")
    if type(port) is not int or not (0 if listener else 1) <= port <= MAX_PORT:
        raise TargetError(f"the port of a target must be {0 if listener else 1} to {MAX_PORT}")
    if transport not in get_args(Transport):
        raise TargetError("the transport of a target must be tcp or udp")
    return InetTarget(host, port, transport)
