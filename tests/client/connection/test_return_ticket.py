"""The ticket of the last login is shown at the next connection, also of another process, and its file fails nothing."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from farhand_client.connection import return_ticket
from farhand_client.connection.address import Address
from farhand_client.connection.return_ticket import ReturnTicket
from farhand_protocol import messages as m
from farhand_protocol.tickets import IssuedTicket

SECRET = b"s" * 16
HOST = Address("build.example.net", port=7022)


def ticket(directory: Path, *, address: Address = HOST, user: str = "ada") -> ReturnTicket:
    return ReturnTicket(directory, address, user)


def accepted(ticket: bytes) -> m.Accepted:
    return m.Accepted(user="ada", host="build", ticket=ticket, ticket_secret=SECRET)


def only_file(directory: Path) -> Path:
    (file,) = (directory / "tickets").iterdir()
    return file


async def test_a_ticket_is_kept_in_a_private_file_that_names_nobody(tmp_path: Path) -> None:
    await ticket(tmp_path).renew(accepted(b"one"))
    await ticket(tmp_path).renew(accepted(b"two"))
    assert await ticket(tmp_path).load() == IssuedTicket(b"two", SECRET)
    file = only_file(tmp_path)
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert "ada" not in file.name
    assert "build" not in file.name


async def test_each_user_and_service_has_its_own(tmp_path: Path) -> None:
    await ticket(tmp_path).renew(accepted(b"one"))
    assert await ticket(tmp_path, user="eve").load() is None
    assert await ticket(tmp_path, address=Address("build.example.net", port=7023)).load() is None
    assert await ticket(tmp_path, address=Address("other.example.net", port=7022)).load() is None


async def test_a_service_that_gives_none_changes_nothing(tmp_path: Path) -> None:
    mine = ticket(tmp_path)
    await mine.renew(accepted(b"one"))
    await mine.renew(m.Accepted(user="ada", host="build"))
    assert await mine.load() == IssuedTicket(b"one", SECRET)


@pytest.mark.parametrize("content", [b"", SECRET, b"x" * 1000])
async def test_a_file_that_is_no_ticket_is_not_shown(tmp_path: Path, content: bytes) -> None:
    await ticket(tmp_path).renew(accepted(b"one"))
    only_file(tmp_path).write_bytes(content)
    assert await ticket(tmp_path).load() is None


async def test_a_file_that_others_may_read_is_not_used_and_replaced(tmp_path: Path) -> None:
    await ticket(tmp_path).renew(accepted(b"one"))
    only_file(tmp_path).chmod(0o644)
    assert await ticket(tmp_path).load() is None
    await ticket(tmp_path).renew(accepted(b"two"))
    assert await ticket(tmp_path).load() == IssuedTicket(b"two", SECRET)


@pytest.mark.parametrize("state", ["/dev/null/farhand", "/proc/farhand"])
async def test_without_a_place_for_it_the_process_remembers_its_ticket(state: str) -> None:
    mine = ticket(Path(state))
    await mine.renew(accepted(b"one"))
    assert await mine.load() == IssuedTicket(b"one", SECRET)
    assert await ticket(Path(state)).load() is None


async def test_a_store_that_hangs_delays_nothing_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = threading.Event()
    monkeypatch.setattr(return_ticket, "TICKET_FILE_TIMEOUT", 0.05)
    monkeypatch.setattr(return_ticket, "read_ticket", lambda path: held.wait() and None)
    monkeypatch.setattr(return_ticket, "write_ticket", lambda path, ticket: held.wait())
    mine = ticket(tmp_path)
    assert await mine.load() is None
    await mine.renew(accepted(b"one"))
    assert await mine.load() == IssuedTicket(b"one", SECRET)
    held.set()


async def test_a_failed_write_leaves_no_file_behind(tmp_path: Path) -> None:
    tickets = tmp_path / "tickets"
    tickets.mkdir()
    await ticket(tmp_path).renew(accepted(b"one"))
    file = only_file(tmp_path)
    file.unlink()
    file.mkdir()
    (file / "in the way").touch()
    await ticket(tmp_path).renew(accepted(b"two"))
    assert list(tickets.iterdir()) == [file]
