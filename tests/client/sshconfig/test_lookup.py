"""What ssh's configuration says about a host decides where Farhand connects, unless config.toml does."""

from __future__ import annotations

from pathlib import Path

import pytest

from farhand_client.connection.address import Address, resolve
from farhand_client.direct.deadline import NotDirectError
from farhand_client.direct.route import find_route
from farhand_client.errors import AddressError

CONFIG = """\
Host web
  HostName web.example.net
  User ann
  IdentityFile {home}/id_web
  IdentityFile {home}/missing
Host strict
  IdentityFile {home}/id_web
  IdentitiesOnly yes
  IdentityAgent none
Host port
  HostName port.example.net
  Port 2222
Host far
  ProxyJump bob@web:22,port
Host odd
  ProxyCommand nc %h %p
Host *
  User everybody
  HostName %h.wrong
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of `config.toml`, which is empty, beside a configuration of ssh."""
    (tmp_path / "id_web").touch()
    (tmp_path / "ssh_config").write_text(CONFIG.replace("{home}", str(tmp_path)))
    monkeypatch.setenv("FARHAND_SSH_CONFIG", str(tmp_path / "ssh_config"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "farhand").mkdir()
    (tmp_path / "farhand" / "config.toml").touch()
    return tmp_path / "farhand" / "config.toml"


def test_a_name_that_ssh_knows_is_one_here(config: Path) -> None:
    address = resolve("web", config=config)
    assert (address.host, address.port, address.user) == ("web.example.net", 7022, "ann")
    assert (address.identities, address.preferred) == ((), (config.parents[1] / "id_web",))
    assert resolve("zoe@web:7044", config=config) == Address(
        host="web.example.net", port=7044, user="zoe", preferred=address.preferred
    )


def test_keys_and_the_agent_are_what_ssh_says(config: Path) -> None:
    address = resolve("strict", config=config)
    assert (address.identities, address.preferred, address.agent) == ((config.parents[1] / "id_web",), (), "")


def test_another_port_than_that_of_ssh_is_used_as_it_is(config: Path) -> None:
    address = resolve("port", config=config)
    assert (address.port, address.is_ssh_port) == (2222, True)
    address = resolve("port:7022", config=config)
    assert (address.port, address.is_ssh_port) == (7022, False)


def test_jumps_are_hosts_on_the_way(config: Path) -> None:
    address = resolve("far", config=config)
    assert [(hop.host, hop.port, hop.user) for hop in address.via] == [
        ("web.example.net", 7022, "bob"),
        ("port.example.net", 2222, "everybody"),
    ]


def test_a_section_for_all_hosts_alone_changes_nothing(config: Path) -> None:
    assert resolve("db.example.org", config=config) == Address(host="db.example.org")


def test_a_host_that_only_a_command_reaches_is_refused(config: Path) -> None:
    with pytest.raises(AddressError, match="ProxyCommand for odd, which only ssh can use; write ssh:odd"):
        resolve("odd", config=config)


def test_config_toml_comes_first(config: Path) -> None:
    config.write_text('[hosts.web]\naddress = "other.example.net"\n')
    assert resolve("web", config=config) == Address(host="other.example.net")


def test_a_mistake_in_the_file_is_told(config: Path) -> None:
    (config.parents[1] / "ssh_config").write_text('Host web\nUser "ann\n')
    with pytest.raises(AddressError, match=r"ssh_config line 2: invalid quotes"):
        resolve("web", config=config)
    with pytest.raises(NotDirectError):
        find_route("web")


@pytest.mark.parametrize("host", ["web", "zoe@web", "strict", "db", "web:7022", "port:7044"])
def test_the_direct_path_finds_the_same(config: Path, host: str) -> None:
    address, route = resolve(host, config=config), find_route(host)
    assert (route.host, route.port, route.user) == (address.host, address.port, address.user)
    assert route.identities == tuple(map(str, address.identities))
    assert (route.preferred, route.agent) == (tuple(map(str, address.preferred)), address.agent)


@pytest.mark.parametrize("host", ["far", "odd", "port"])
def test_the_direct_path_leaves_what_is_not_plain_to_the_other(config: Path, host: str) -> None:
    with pytest.raises(NotDirectError):
        find_route(host)
