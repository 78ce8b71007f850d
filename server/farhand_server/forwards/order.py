"""What a forward worker is told, and its totals (`programs.order_file`)."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Self

from farhand_protocol.values import arguments_from_json, arguments_to_json
from farhand_server.programs.order_file import RunIds, SealedFile

from .rules import ForwardRules, Permission

_TOTALS: Final = struct.Struct(">6Q")


class ForwardTotals(NamedTuple):
    """What went through a tunnel: its connections, those that were refused, and its listeners; the bytes of all
    connections that are over; and how many records of these (`records`) were dropped."""

    flows: int = 0
    refused: int = 0
    listeners: int = 0
    from_client: int = 0
    to_client: int = 0
    dropped: int = 0

    def pack(self) -> bytes:
        """Return the form in the file."""
        return _TOTALS.pack(*self)

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """Return the totals in a file. Raises ValueError if these are none."""
        if len(packed) != _TOTALS.size:
            raise ValueError("totals of the wrong size")
        numbers = _TOTALS.unpack(packed)
        if max(numbers) >= 1 << 63:
            raise ValueError("not the totals of a tunnel")
        return cls._make(numbers)


class ForwardOrder(NamedTuple):
    """What the worker does: all that its client asks of it, as far as `rules` allow. `home` is where relative paths of
    Unix sockets begin. `user` is None for the service's own account. Records go to the descriptor `records`."""

    rules: ForwardRules
    home: bytes
    user: RunIds | None
    records: int

    def pack(self) -> bytes:
        """Return the form in the file."""
        told = self.rules._asdict() | {
            "home": arguments_to_json((self.home,)),
            "user": self.user,
            "records": self.records,
        }
        return json.dumps(told).encode()

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """Return the order that the core has written."""
        told = json.loads(packed)
        [home] = arguments_from_json(told["home"])
        user = None
        if told["user"] is not None:
            uid, gid, groups = told["user"]
            user = RunIds(uid, gid, tuple(groups))
        rules = ForwardRules(
            connect=tuple(told["connect"]),
            listen=tuple(told["listen"]),
            agent=told["agent"],
            permit_open=_permissions(told["permit_open"]),
            permit_listen=_permissions(told["permit_listen"]),
        )
        return cls(rules, home, user, told["records"])


def _permissions(told: Sequence[Any] | None) -> tuple[Permission, ...] | None:
    return None if told is None else tuple(Permission._make(each) for each in told)


class ForwardOrderFile(SealedFile):
    """The file with an order and the totals, by its descriptor."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd, _TOTALS.size)

    @classmethod
    def create(cls, order: ForwardOrder) -> Self:
        """Write a new file, whose descriptor child processes do not inherit. Raises OSError."""
        return cls(cls.write(order.pack(), _TOTALS.size))

    def order(self) -> ForwardOrder:
        """Return the order."""
        return ForwardOrder.unpack(self.packed_order())

    def write_totals(self, totals: ForwardTotals) -> None:
        """Replace the totals."""
        self.replace_report(totals.pack())

    def totals(self) -> ForwardTotals:
        """Return the totals: zeros if the worker has written none, or nonsense."""
        try:
            return ForwardTotals.unpack(self.packed_report())
        except (OSError, ValueError):
            return ForwardTotals()
