"""A worker gets its order, and its report is read whatever has become of it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_server.files.order import OrderFile, TransferOrder, TransferReport
from farhand_server.programs.order_file import RunIds

ORDER = TransferOrder("write", (b"/srv/caf\xe9\n",), b"/home/ada", (b"/srv", b"\xff"), RunIds(1000, 1001, (4, 5)))
REPORT = TransferReport(True, 1, 2, 3, 4, 5, 6, 7, (1 << 63) - 1, "ab" * 32)


@pytest.fixture
def order_file() -> Iterator[OrderFile]:
    made = OrderFile.create(ORDER)
    yield made
    made.close()


@pytest.mark.parametrize(
    "order",
    [
        ORDER,
        TransferOrder("read", (b"a", b"b*"), b"/", None, None),
        ORDER._replace(roots=()),
        ORDER._replace(access="sweep", before=1.25),
    ],
)
def test_a_worker_reads_what_the_core_has_written(order: TransferOrder) -> None:
    order_file = OrderFile.create(order)
    assert OrderFile(order_file.fd).order() == order
    order_file.close()


@pytest.mark.parametrize(
    ("path", "located"),
    [(b"~", b"/home/ada"), (b"~/a", b"/home/ada/a"), (b"~a", b"~a"), (b"a/~", b"a/~"), (b"/", b"/")],
)
def test_a_tilde_is_the_home(path: bytes, located: bytes) -> None:
    assert ORDER.located(path) == located


def test_an_order_may_be_as_large_as_a_request() -> None:
    order = ORDER._replace(paths=(b"\xff" * 4096,) * 1024)
    order_file = OrderFile.create(order)
    assert order_file.order() == order
    order_file.close()


def test_a_report_is_what_was_written_last(order_file: OrderFile) -> None:
    assert order_file.report() == TransferReport()
    order_file.write_report(TransferReport(files=1))
    order_file.write_report(REPORT)
    assert order_file.report() == REPORT
    assert order_file.order() == ORDER


def test_a_worker_cannot_change_the_size_of_the_file(order_file: OrderFile) -> None:
    size = os.fstat(order_file.fd).st_size
    for other in (0, size - 1, size + 1, 1 << 40):
        with pytest.raises(PermissionError):
            os.ftruncate(order_file.fd, other)
    with pytest.raises(PermissionError):
        os.pwrite(order_file.fd, b"x" * (size + 1), 0)


def test_no_child_process_inherits_the_file_by_accident(order_file: OrderFile) -> None:
    assert not os.get_inheritable(order_file.fd)


@given(st.binary(min_size=129, max_size=129))
def test_nonsense_is_no_report(nonsense: bytes) -> None:
    order_file = OrderFile.create(ORDER)
    try:
        os.pwrite(order_file.fd, nonsense, 0)
        found = order_file.report()
        assert found == TransferReport() or found.pack().rstrip(b"\0") == nonsense.rstrip(b"\0")
        assert all(0 <= number < 1 << 63 for number in found[1:-1])
    finally:
        order_file.close()


@pytest.mark.parametrize("digest", [b"AB" * 32, b"ab", b"\xff" * 64, b"ab" * 31 + b"\n\n"])
def test_a_digest_has_64_digits(order_file: OrderFile, digest: bytes) -> None:
    order_file.write_report(REPORT)
    os.pwrite(order_file.fd, digest.ljust(64, b"\0"), len(REPORT.pack()) - 64)
    assert order_file.report() == TransferReport()


def test_a_file_that_cannot_be_read_has_no_report() -> None:
    order_file = OrderFile.create(ORDER)
    order_file.close()
    assert order_file.report() == TransferReport()
