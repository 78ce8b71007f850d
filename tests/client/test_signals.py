"""Signals have their Linux numbers on the wire, whatever system the client runs on."""

from __future__ import annotations

import signal

import pytest

from farhand_client.signals import linux_number, parse_signal, signal_name


def test_signals_have_linux_numbers_on_every_system() -> None:
    assert [linux_number(n) for n in (signal.SIGHUP, 10, 64)] == [1, 10, 64]
    assert linux_number(signal.SIGUSR1, platform="darwin") == 10
    assert type(linux_number(signal.SIGINT)) is int


@pytest.mark.parametrize("number", [0, 65, -1])
def test_an_unknown_signal_number_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="is not a signal"):
        linux_number(number)
    with pytest.raises(ValueError, match="does not exist on Linux"):
        linux_number(number, platform="darwin")


@pytest.mark.parametrize(("number", "name"), [(1, "SIGHUP"), (9, "SIGKILL"), (31, "SIGSYS"), (40, "signal 40")])
def test_signals_have_names(number: int, name: str) -> None:
    assert signal_name(number) == name


@pytest.mark.parametrize(("text", "number"), [("TERM", 15), ("sigterm", 15), ("15", 15), ("64", 64), ("SIGHUP", 1)])
def test_a_signal_is_written_as_a_name_or_a_number(text: str, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "-1", "1.0", "TERMINATE", "٣"])
def test_an_unknown_signal_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a signal; write a name"):
        parse_signal(text)
