"""Run ids, signals' numbers, and the version."""

from __future__ import annotations

import signal
import time
import uuid
from importlib.metadata import version

import pytest

import farhand_client
from farhand_client.ids import uuid7
from farhand_client.signals import linux_number, signal_name


def test_run_ids_are_uuids_of_version_7_and_sort_by_time() -> None:
    before = time.time_ns() // 1_000_000
    ids = [uuid7() for _ in range(100)]
    after = time.time_ns() // 1_000_000
    for text in ids:
        number = uuid.UUID(text)
        assert (number.version, number.variant, str(number)) == (7, uuid.RFC_4122, text)
        assert before <= number.int >> 80 <= after
    assert len(set(ids)) == 100


def test_signals_have_linux_numbers_everywhere() -> None:
    assert [linux_number(n) for n in (signal.SIGHUP, 10, 64)] == [1, 10, 64]
    assert linux_number(signal.SIGUSR1, platform="darwin") == 10
    assert type(linux_number(signal.SIGINT)) is int


@pytest.mark.parametrize("number", [0, 65, -1])
def test_what_is_no_signal_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="is not a signal"):
        linux_number(number)
    with pytest.raises(ValueError, match="does not exist on Linux"):
        linux_number(number, platform="darwin")


@pytest.mark.parametrize(("number", "name"), [(1, "SIGHUP"), (9, "SIGKILL"), (31, "SIGSYS"), (40, "signal 40")])
def test_signals_have_names(number: int, name: str) -> None:
    assert signal_name(number) == name


def test_the_version_is_the_distributions() -> None:
    assert farhand_client.__version__ == version("farhand")


def test_every_public_name_is_there() -> None:
    for name in farhand_client.__all__:
        assert getattr(farhand_client, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        farhand_client.nothing  # noqa: B018  # the access is the test
