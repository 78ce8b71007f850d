"""What must be done with the last descriptors can be done, and the reserve is filled again afterwards."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

import pytest

from farhand_server.descriptors import RESERVED, DescriptorReserve
from tests.support.processes import no_descriptors, own_descriptors


@pytest.fixture
def reserve() -> Iterator[DescriptorReserve]:
    one = DescriptorReserve()
    one.keep()
    yield one
    one.close()


def open_and_close(count: int) -> str:
    """Open so many descriptors at once."""
    opened: list[int] = []
    try:
        for _ in range(count):
            opened.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    finally:
        for fd in opened:
            os.close(fd)
    return "done"


def test_a_call_succeeds_that_finds_no_descriptor_but_the_reserve(reserve: DescriptorReserve) -> None:
    before = len(own_descriptors())
    with no_descriptors():
        with pytest.raises(OSError, match="Too many open files"):
            open_and_close(1)
        for _ in range(3):
            assert reserve.spend(open_and_close, RESERVED) == "done"
        with pytest.raises(OSError, match="Too many open files"):
            reserve.spend(open_and_close, RESERVED + 1)
        assert reserve.spend(open_and_close, 1) == "done"
    assert len(own_descriptors()) == before


def test_other_errors_and_the_lack_of_a_reserve_are_passed_on(reserve: DescriptorReserve) -> None:
    def failing() -> None:
        raise OSError(errno.EACCES, "no")

    with pytest.raises(OSError, match="no"):
        reserve.spend(failing)
    with no_descriptors(), pytest.raises(OSError, match="Too many open files"):
        DescriptorReserve().spend(open_and_close, 1)


def test_a_reserve_that_could_not_be_filled_is_filled_later(reserve: DescriptorReserve) -> None:
    one = DescriptorReserve()
    with no_descriptors():
        one.keep(2)
        with pytest.raises(OSError, match="Too many open files"):
            one.spend(open_and_close, 1)
    before = len(own_descriptors())
    one.spend(open_and_close, 1)
    assert len(own_descriptors()) == before + 2
    one.close()
