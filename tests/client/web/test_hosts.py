"""The hosts of the page: which there are, and that each login after the first asks nobody anything."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from farhand_client.connection.login import LoginResult
from farhand_client.errors import AddressError, ConnectError, ConnectionLost, HostKeyUnknown
from farhand_client.logins import ConnectOptions
from farhand_client.web.hosts import WebHost, web_hosts
from farhand_client.web.relay import MAX_LOGINS, log_in_for_page
from tests.support.fake_service import FakeService
from tests.support.faulty_proxy import network_service

OPTIONS = ConnectOptions(timeout=20.0)


def test_they_are_those_of_the_configuration_and_the_named_one_first(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[hosts.a]\naddress = "a.example"\n[hosts.b]\naddress = "b.example"\n')
    options = replace(OPTIONS, config=tmp_path, named=(Path("key"),))
    assert list(web_hosts(None, options)) == ["a", "b"]
    assert list(web_hosts("b", options)) == ["b", "a"]
    assert list(web_hosts("c", options)) == ["c", "a", "b"]
    assert list(web_hosts("c", OPTIONS)) == ["c"]


def test_without_a_configuration_there_is_the_named_one(tmp_path: Path) -> None:
    options = replace(OPTIONS, config=tmp_path)
    assert list(web_hosts("c", options)) == ["c"]
    assert list(web_hosts(None, options)) == []


def test_a_configuration_with_mistakes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[hosts.a]\n")
    with pytest.raises(AddressError, match=r"config\.toml"):
        web_hosts(None, replace(OPTIONS, config=tmp_path))


async def test_each_login_is_a_connection_of_its_own(tmp_path: Path) -> None:
    async with FakeService().on_socket(tmp_path) as service:
        host = WebHost(service.host, OPTIONS)
        logins = await asyncio.gather(*(host.log_in() for _ in range(3)))
        assert len({login.session for login in logins}) == 3
        for login in logins:
            await login.session.close()
        await host.close()


async def test_after_a_failure_the_next_login_is_the_first_again(tmp_path: Path) -> None:
    host = WebHost(f"unix:{tmp_path}/nobody", OPTIONS)
    for _ in range(2):
        with pytest.raises(ConnectError, match="nobody"):
            await host.log_in()
    await host.close()


async def test_only_the_login_that_may_ask_asks(tmp_path: Path) -> None:
    asked: list[HostKeyUnknown] = []

    async def confirm(error: HostKeyUnknown) -> bool:
        asked.append(error)
        return True

    async with network_service(tmp_path) as service:
        assert service.address is not None
        options = replace(OPTIONS, named=(tmp_path / "key",), known_hosts=tmp_path / "known", confirm=confirm)
        host = WebHost(f"127.0.0.1:{service.address[1]}", options)
        with pytest.raises(HostKeyUnknown):
            await host.log_in()
        assert not asked
        first = await host.log_in(ask=True)
        second = await host.log_in()
        assert len(asked) == 1
        for login in (first, second):
            assert login.accepted.user
            await login.session.close()
        await host.close()


class TestTakingOver:
    """A connection on which something is under way cannot be taken over without missing it."""

    async def test_another_login_is_made_then(self, tmp_path: Path) -> None:
        async with FakeService().on_socket(tmp_path) as service:
            host, made = WebHost(service.host, OPTIONS), 0

            async def log_in() -> LoginResult:
                nonlocal made
                made += 1
                login = await host.log_in()
                if made < MAX_LOGINS:
                    login.session.abort()  # what has ended is as little idle
                    await asyncio.sleep(0)
                return login

            stream, _ = await log_in_for_page(log_in)
            assert made == MAX_LOGINS
            stream.close()

    async def test_after_several_the_page_is_told(self, tmp_path: Path) -> None:
        async with FakeService().on_socket(tmp_path) as service:
            host, made = WebHost(service.host, OPTIONS), 0

            async def log_in() -> LoginResult:
                nonlocal made
                made += 1
                login = await host.log_in()
                await login.session.close()
                return login

            with pytest.raises(ConnectionLost):
                await log_in_for_page(log_in)
            assert made == MAX_LOGINS
