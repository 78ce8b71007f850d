"""The private file of a ticket."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from farhand_client.connection.ticket_file import read_ticket, ticket_file, write_ticket
from farhand_protocol.tickets import IssuedTicket

TICKET = IssuedTicket(b"ticket", bytes(16))


def test_a_ticket_is_kept_in_a_private_file(tmp_path: Path) -> None:
    path = ticket_file(str(tmp_path / "state"), "web", 7022, "ann")
    assert read_ticket(path) is None
    write_ticket(path, TICKET)
    write_ticket(path, TICKET)
    assert read_ticket(path) == TICKET
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert [each.name for each in Path(path).parent.iterdir()] == [Path(path).name]


def test_each_user_at_each_service_has_one_of_its_own(tmp_path: Path) -> None:
    whose = [("web", 1, "ann"), ("web", 2, "ann"), ("web", 1, "bob"), ("other", 1, "ann")]
    assert len({ticket_file("/s", *each) for each in whose}) == 4
    assert "web" not in ticket_file("/s", *whose[0])


@pytest.mark.parametrize(("data", "mode"), [(b"x" * 16, 0o600), (b"x" * 20, 0o644), (b"x" * 200, 0o600)])
def test_a_file_that_is_not_right_counts_as_none(tmp_path: Path, data: bytes, mode: int) -> None:
    (tmp_path / "t").write_bytes(data)
    (tmp_path / "t").chmod(mode)
    assert read_ticket(f"{tmp_path}/t") is None


def test_a_directory_that_cannot_be_written_is_no_error() -> None:
    write_ticket(f"{os.devnull}/tickets/t", TICKET)
