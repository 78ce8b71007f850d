"""The order arrives as it was written, and whoever has the file cannot change its size."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from farhand_server.programs.order_file import ORDER_VARIABLE, SealedFile

ORDER = b"order" * 10_000


@pytest.fixture
def file() -> Iterator[SealedFile]:
    made = SealedFile(SealedFile.write(ORDER, 4), 4)
    yield made
    made.close()


def test_the_order_is_what_was_written_whatever_is_reported(file: SealedFile) -> None:
    assert (file.packed_order(), file.packed_report()) == (ORDER, bytes(4))
    file.replace_report(b"done")
    assert (file.packed_order(), file.packed_report()) == (ORDER, b"done")


def test_its_size_is_sealed(file: SealedFile) -> None:
    for size in (0, len(ORDER) + 5):
        with pytest.raises(PermissionError):
            os.ftruncate(file.fd, size)


def test_no_child_inherits_it_by_accident(file: SealedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not os.get_inheritable(file.fd)
    os.set_inheritable(file.fd, True)
    monkeypatch.setenv(ORDER_VARIABLE, str(file.fd))
    assert SealedFile.inherited() == file.fd
    assert not os.get_inheritable(file.fd)
