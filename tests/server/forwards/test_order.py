"""A forward worker gets its order, and its totals are read whatever has become of it."""

from __future__ import annotations

import os

import pytest

from farhand_server.forwards.order import ForwardOrder, ForwardOrderFile, ForwardTotals
from farhand_server.forwards.rules import ForwardRules, Permission
from farhand_server.programs.order_file import RunIds

NARROW = ForwardRules(("db:1",), ("unix:/caf\u00e9",), False, (Permission("db", 0),), ())


@pytest.mark.parametrize(
    "order",
    [
        ForwardOrder(ForwardRules(), b"/root", None, 7),
        ForwardOrder(NARROW, b"/home/\xff", RunIds(1000, 1001, (4, 5)), 8),
    ],
)
def test_a_worker_reads_what_the_core_has_written(order: ForwardOrder) -> None:
    order_file = ForwardOrderFile.create(order)
    assert ForwardOrderFile(order_file.fd).order() == order
    assert order_file.totals() == ForwardTotals()
    order_file.close()


def test_the_totals_are_those_that_were_written_last() -> None:
    order_file = ForwardOrderFile.create(ForwardOrder(NARROW, b"/", None, 7))
    order_file.write_totals(ForwardTotals(1))
    last = ForwardTotals(1, 2, 3, 4, 5, (1 << 63) - 1)
    order_file.write_totals(last)
    assert order_file.totals() == last
    os.pwrite(order_file.fd, b"\xff" * 48, 0)
    assert order_file.totals() == ForwardTotals()
    order_file.close()
    assert order_file.totals() == ForwardTotals()


def test_totals_of_another_size_are_none() -> None:
    with pytest.raises(ValueError, match="size"):
        ForwardTotals.unpack(b"")
