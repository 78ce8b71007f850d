"""The hosts of a REPL, which of them are active, and the branch that each one shows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from farhand_client.errors import FarhandError
from farhand_client.repl.hosts import MAX_ACTIVE_HOSTS, Hosts, ReplHost
from farhand_protocol.errors import ErrorCode
from tests.support.fake_runs import printing
from tests.support.fake_service import FakeService, refusing
from tests.support.local_programs import connecting_to


@pytest.fixture
async def hosts(service: FakeService) -> AsyncIterator[Hosts]:
    made = Hosts(lambda name: connecting_to(service), "web")
    yield made
    await made.close()


def active(hosts: Hosts) -> list[str]:
    return [host.name for host in hosts.active]


class TestActiveHosts:
    async def test_switching_connects_and_leaves_one_active_host(self, hosts: Hosts) -> None:
        assert active(hosts) == ["web"]
        await hosts.switch("db")
        assert (active(hosts), list(hosts.known)) == (["db"], ["web", "db"])

    async def test_hosts_are_added_in_order_and_once(self, hosts: Hosts) -> None:
        for name in ("db", "web", "db"):
            await hosts.add(name)
        assert active(hosts) == ["web", "db"]

    async def test_the_number_of_active_hosts_is_limited(self, hosts: Hosts) -> None:
        hosts.active *= MAX_ACTIVE_HOSTS
        with pytest.raises(ValueError, match="32 hosts already"):
            await hosts.add("db")

    async def test_a_host_that_cannot_be_reached_is_forgotten(self, hosts: Hosts, service: FakeService) -> None:
        service.host = "unix:/nowhere/s"
        with pytest.raises(FarhandError):
            await hosts.add("db")
        assert (active(hosts), list(hosts.known)) == (["web"], ["web"])

    async def test_removing_a_host_closes_its_connection_and_names_its_running_jobs(self, hosts: Hosts) -> None:
        await hosts.add("db")
        db = hosts.known["db"]
        db.jobs.add("01a1fc79-3b2c-7abc-8def-000000000001", "make &")
        assert await hosts.remove("db") == ["01a1fc79-3b2c"]
        assert db.connection.client is None
        assert (active(hosts), list(hosts.known)) == (["web"], ["web"])

    async def test_the_last_active_host_and_an_unknown_one_are_not_removed(self, hosts: Hosts) -> None:
        with pytest.raises(ValueError, match="web is the only host that lines are sent to"):
            await hosts.remove("web")
        with pytest.raises(ValueError, match="db is not one of the hosts here: web"):
            await hosts.remove("db")

    async def test_changes_of_any_host_are_reported(self, hosts: Hosts) -> None:
        changes: list[str] = []
        hosts.when_changed(lambda: changes.append("changed"))
        await hosts.switch("db")
        assert changes == ["changed"]

    async def test_connections_that_are_lost_permanently_are_closed(self, hosts: Hosts, service: FakeService) -> None:
        await hosts.switch("db")
        service.connections[0].cut()
        client = hosts.active[0].connection.client
        assert client is not None
        with pytest.raises(FarhandError):
            await client.ping()
        await hosts.close_lost_connections()
        assert hosts.active[0].connection.client is None


async def branch_changed(host: ReplHost) -> None:
    """Request the branch and wait until the host reports it."""
    changed = asyncio.Event()
    host.connection.on_change = changed.set
    host.refresh_branch()
    await asyncio.wait_for(changed.wait(), 10)


class TestBranch:
    async def test_the_branch_is_read_in_the_background_once_until_a_line_may_change_it(
        self, host: ReplHost, service: FakeService
    ) -> None:
        service.behave = printing(b"ref: refs/heads/main")
        host.refresh_branch()
        assert service.runs == [], "there is no connection"
        await host.connection.connect()
        await branch_changed(host)
        assert host.branch == "main"
        host.refresh_branch()
        assert len(service.runs) == 1
        service.behave = printing(b"ref: refs/heads/topic")
        host.line_ended("make")
        await branch_changed(host)
        assert host.branch == "topic"

    async def test_another_directory_has_no_branch_until_it_is_read(self, host: ReplHost, service: FakeService) -> None:
        service.behave = printing(b"ref: refs/heads/main")
        await host.connection.connect()
        await branch_changed(host)
        host.state.directory = b"/tmp"
        host.line_ended("cd /tmp")
        assert host.branch is None

    async def test_outside_of_repositories_only_a_line_with_git_requests_it_again(
        self, host: ReplHost, service: FakeService
    ) -> None:
        await host.connection.connect()
        host.refresh_branch()
        await asyncio.wait_for(service.arrived.wait(), 10)
        host.line_ended("make")
        host.refresh_branch()
        assert len(service.runs) == 1
        service.behave = printing(b"ref: refs/heads/main")
        host.line_ended("git init")
        await branch_changed(host)
        assert host.branch == "main"

    async def test_a_service_that_refuses_is_not_asked_again(self, host: ReplHost, service: FakeService) -> None:
        service.behave = printing(b"ref: refs/heads/main")
        await host.connection.connect()
        await branch_changed(host)
        service.behave = refusing(ErrorCode.DENIED, "no")
        service.arrived.clear()
        host.line_ended("git status")
        host.refresh_branch()
        await asyncio.wait_for(service.arrived.wait(), 10)
        client = host.connection.client
        assert client is not None
        await client.ping()
        host.line_ended("git status")
        host.refresh_branch()
        await client.ping()
        assert len(service.runs) == 2
