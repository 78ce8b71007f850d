"""Nothing is sent to a service whose host key is not the recorded one, unless the user accepts it."""

from __future__ import annotations

from pathlib import Path

import pytest

from farhand_client import ConnectError, HostKeyChanged, HostKeyRevoked, HostKeyUnknown, connect
from farhand_client.connection.address import Address
from farhand_client.connection.deadline import connect_deadline
from farhand_client.connection.dial import check_host_key
from farhand_protocol import messages as m
from tests.support import openssh
from tests.support.fake_tls import USER, port, received_nothing, record, tls_service

pytestmark = pytest.mark.usefixtures("home")


async def test_a_recorded_key_is_accepted(tmp_path: Path) -> None:
    async with tls_service(tmp_path) as (service, _), connect(service.host) as client:
        assert (client.name, client.user, client.host) == (service.host, "ann", "fake")
        assert (client.software, client.version, client.features) == ("fake/1", 1, ())
        assert (await client.run(["true"])).returncode == 0
    hello = service.connections[0].messages[0]
    assert isinstance(hello, m.Hello)
    assert (hello.user, hello.server, hello.versions) == (USER, "127.0.0.1", (1,))


async def test_an_unknown_key_is_refused_by_default(tmp_path: Path) -> None:
    async with tls_service(tmp_path, known=False) as (service, key):
        with pytest.raises(HostKeyUnknown) as caught:
            await connect(service.host)
        assert caught.value.fingerprint == key.fingerprint
        assert str(caught.value).splitlines()[-1] == f"  farhand trust {service.host} {key.fingerprint}"
        assert received_nothing(service)
    assert not record(tmp_path).path.exists()


@pytest.mark.parametrize("accept_new", [True, False])
async def test_a_changed_key_fails_before_any_byte_is_sent(tmp_path: Path, accept_new: bool) -> None:
    async with tls_service(tmp_path, known=False) as (service, key):
        other = openssh.make_key(tmp_path / "other")
        record(tmp_path).add("127.0.0.1", port(service), other)
        with pytest.raises(HostKeyChanged) as caught:
            await connect(service.host, accept_new=accept_new)
        assert received_nothing(service)
    assert str(caught.value).splitlines()[-1] == f"  farhand trust {service.host} {key.fingerprint}"
    for part in ("HAS CHANGED", key.fingerprint, other.fingerprint, f"{record(tmp_path).path}:1", "Nothing was sent"):
        assert part in str(caught.value)


async def test_a_damaged_line_is_named_rather_than_called_a_changed_key(tmp_path: Path) -> None:
    async with tls_service(tmp_path) as (service, _):
        path = record(tmp_path).path
        path.write_text(f"# first\n{path.read_text().replace('AAAA', 'AA%A')}")
        with pytest.raises(HostKeyChanged) as caught:
            await connect(service.host, accept_new=True)
    text = str(caught.value)
    expected = f"{path}:2: the line for [127.0.0.1]:{port(service)} cannot be read (the key is not valid base64)"
    assert (text.startswith(expected), "HAS CHANGED" in text) == (True, False)


async def test_the_suggested_command_can_be_pasted_into_a_shell(tmp_path: Path) -> None:
    key = openssh.make_key(tmp_path / "key")
    with pytest.raises(HostKeyUnknown) as caught:
        async with connect_deadline(60) as deadline:
            await check_host_key(record(tmp_path), Address(host="::1", port=8022), key, deadline)
    assert str(caught.value).splitlines()[-1] == f"  farhand trust '[::1]:8022' {key.fingerprint}"


async def test_a_revoked_key_is_refused(tmp_path: Path) -> None:
    async with tls_service(tmp_path) as (service, _):
        path = record(tmp_path).path
        path.write_text(f"@revoked {path.read_text()}")
        with pytest.raises(HostKeyRevoked, match="is revoked"):
            await connect(service.host, accept_new=True)


async def test_an_unreadable_known_hosts_file_trusts_no_key(tmp_path: Path) -> None:
    async with tls_service(tmp_path, known=False) as (service, _):
        record(tmp_path).path.mkdir(parents=True)
        with pytest.raises(ConnectError, match="known_hosts is not a regular file"):
            await connect(service.host, accept_new=True)
