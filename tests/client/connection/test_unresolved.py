"""A name that cannot be resolved: the message says that it is not configured either, and which name was meant."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from farhand_client.connection.address import Address, resolve
from farhand_client.connection.unresolved import unresolved_name

UNKNOWN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
NO_NETWORK = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text("[hosts.web]\naddress = 'web.exmaple'\n")
    return path


@pytest.mark.parametrize(
    ("host", "end"),
    [
        ("wbe", "did you mean web?"),
        ("WEB2", "did you mean web?"),
        ("biuld.example", "did you mean build.example?"),
        ("sh", "sh is a program here: is HOST missing before it?"),
        ("elsewhere", "check its spelling, or give it an address there"),
    ],
)
def test_a_name_is_neither_configured_nor_resolvable(config: Path, host: str, end: str) -> None:
    assert unresolved_name(resolve(host, config=config), UNKNOWN, ["build.example", host]) == (
        f"cannot resolve the name {host}: Name or service not known, and {config} has no host of that name; {end}"
    )


def test_a_configured_address_is_named_with_its_section(config: Path) -> None:
    assert unresolved_name(resolve("web", config=config), UNKNOWN) == (
        f"cannot resolve the name web.exmaple: Name or service not known; it is the address of [hosts.web] in {config}"
    )


def test_without_a_network_no_other_name_is_suggested(config: Path) -> None:
    assert unresolved_name(resolve("wbe", config=config), NO_NETWORK).endswith("of that name; is there a network?")


def test_the_file_is_not_needed(tmp_path: Path) -> None:
    expected = "; check its spelling, or give it an address "
    assert unresolved_name(Address("web"), UNKNOWN).endswith(f"not known{expected}in config.toml")
    missing = resolve("web", config=tmp_path / "none.toml")
    assert unresolved_name(missing, UNKNOWN).endswith(f"none.toml has no host of that name{expected}there")
    (tmp_path / "none.toml").write_text("broken")
    assert unresolved_name(missing, UNKNOWN).endswith(f"{expected}there")
