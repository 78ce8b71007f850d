"""Accounts are looked up without holding up the loop, and one that hangs holds up only its own connections."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import socket
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from farhand_server.listen import local_accounts
from farhand_server.listen.local_accounts import FoundAccount, LocalAccounts
from tests.support.processes import no_descriptors

TIMEOUT = 20.0
NOBODY = 65534
HANGING = range(100_000, 200_000)
OWN = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A name service that does not answer about some accounts until the event is set."""
    answers, find = threading.Event(), pwd.getpwuid

    def getpwuid(uid: int) -> pwd.struct_passwd:
        if uid in HANGING:
            answers.wait(TIMEOUT)
        return find(uid)

    monkeypatch.setattr(pwd, "getpwuid", getpwuid)
    yield answers
    answers.set()


class Clients:
    """Connects as any account, and collects what was found."""

    def __init__(self, deadline: float) -> None:
        self.accounts = LocalAccounts(lambda: deadline)
        self.sockets: list[socket.socket] = []

    def connect(self, uid: int) -> asyncio.Future[FoundAccount | Exception] | None:
        """Return what will be found for a connection, None if too many wait."""
        sock = socket.socket()
        self.sockets.append(sock)
        found: asyncio.Future[FoundAccount | Exception] = asyncio.get_running_loop().create_future()
        return found if self.accounts.look_up(uid, sock, lambda _, result: found.set_result(result)) else None

    async def user(self, uid: int) -> str:
        found = self.connect(uid)
        assert found is not None
        async with asyncio.timeout(TIMEOUT):
            account = await found
        assert isinstance(account, FoundAccount), account
        return account.caller.principal.user


@contextlib.asynccontextmanager
async def clients(deadline: float = TIMEOUT) -> AsyncIterator[Clients]:
    some = Clients(deadline)
    yield some
    some.accounts.close()
    for sock in some.sockets:
        sock.close()


async def test_a_client_is_found_with_its_account_and_root_is_the_services_account() -> None:
    async with clients() as some:
        found = some.connect(0)
        assert found is not None
        account = await found
        assert isinstance(account, FoundAccount)
        assert (account.caller.principal.user, account.caller.principal.how, account.service) == (OWN, "peer", OWN)
        assert await some.user(NOBODY) == "nobody"


async def test_a_look_up_that_hangs_holds_up_only_the_connections_of_its_account(answers: threading.Event) -> None:
    async with clients() as some:
        held = [some.connect(HANGING[0]) for _ in range(3)]
        assert [await some.user(uid) for uid in (NOBODY, os.getuid(), NOBODY)] == ["nobody", OWN, "nobody"]
        waiting = [each for each in held if each is not None]
        assert [each.done() for each in waiting] == [False] * 3
        answers.set()
        async with asyncio.timeout(TIMEOUT):
            found = await asyncio.gather(*waiting)
        assert len(set(map(id, found))) == 1, "one answer is for all of them"


async def test_a_connection_does_not_wait_forever(answers: threading.Event) -> None:
    async with clients(deadline=0.01) as some:
        for _ in range(2):
            found = some.connect(HANGING[0])
            assert found is not None
            async with asyncio.timeout(TIMEOUT):
                error = await found
            assert isinstance(error, TimeoutError)
            assert error.strerror == "the name service does not answer"


async def test_few_connections_wait_and_none_of_an_account_that_was_admitted_is_refused_for_those_of_others(
    answers: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_accounts, "MAX_LOCAL_WAITING", 64)
    async with clients() as some:
        some.accounts.admitted(NOBODY)
        assert sum(some.connect(HANGING[0]) is not None for _ in range(64)) == 20, "two thirds of half, less a reserve"
        assert sum(some.connect(uid) is not None for uid in HANGING[1:64]) == 10
        known = some.connect(NOBODY)
        assert known is not None
        answers.set()
        async with asyncio.timeout(TIMEOUT):
            await known
        answers.clear()


async def test_what_cannot_be_looked_up_is_an_error_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    async with clients() as some:
        sock = socket.socket()
        some.sockets.append(sock)
        failed: asyncio.Future[FoundAccount | Exception] = asyncio.get_running_loop().create_future()
        with no_descriptors():
            some.accounts.look_up(NOBODY, sock, lambda _, result: failed.set_result(result))
            assert isinstance(await failed, OSError)
        monkeypatch.setattr(local_accounts, "user_name", lambda _: 1 // 0)
        found = some.connect(NOBODY)
        assert found is not None
        assert isinstance(await found, ZeroDivisionError)


async def test_connections_that_wait_are_closed_with_the_service(answers: threading.Event) -> None:
    async with clients() as some:
        some.connect(HANGING[0])
        some.accounts.close()
        assert some.sockets[0].fileno() == -1
