"""HOST is parsed strictly, and a name from `config.toml` stands for an address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from farhand_client import AddressError
from farhand_client.connection.address import Address, resolve


@pytest.mark.parametrize(
    ("host", "address", "text"),
    [
        ("web", Address(host="web"), "web"),
        ("web:22", Address(host="web", port=22), "web:22"),
        ("ann@web.example.net:7022", Address(host="web.example.net", user="ann"), "web.example.net"),
        ("ann@corp@web", Address(host="web", user="ann@corp"), "web"),
        ("[::1]", Address(host="::1"), "[::1]"),
        ("ann@[fe80::1%eth0]:1", Address(host="fe80::1%eth0", port=1, user="ann"), "[fe80::1%eth0]:1"),
        ("127.0.0.1:65535", Address(host="127.0.0.1", port=65535), "127.0.0.1:65535"),
        ("unix:/run/x.sock", Address(socket="/run/x.sock"), "unix:/run/x.sock"),
        ("unix:relative:odd@name", Address(socket="relative:odd@name"), "unix:relative:odd@name"),
    ],
)
def test_a_valid_host_is_parsed(host: str, address: Address, text: str) -> None:
    assert resolve(host) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("", "is not a host"),
        ("@web", "user before the @ is missing"),
        ("ann@", "is not a host"),
        ("-x", "is not a host"),
        ("two words", "is not a host"),
        ("a/b", "is not a host"),
        ("a\n", "is not a host"),
        ("x" * 256, "is not a host"),
        ("web:", "'' is not a port number from 1 to 65535"),
        ("web:0", "'0' is not a port"),
        ("web:65536", "'65536' is not a port"),
        ("web:٣", "is not a port"),
        ("web:+1", "is not a port"),
        ("::1", r"in brackets, as \[ADDRESS\]"),
        ("[::1", "write an IPv6 address as"),
        ("[::1]7022", "write an IPv6 address as"),
        ("[::1]:", "is not a port"),
        ("[web]", "'web' is not an IPv6 address"),
        ("unix:", "must be followed by the path of a socket"),
        ("unix:" + "x" * 104, "longer than 103 bytes"),
    ],
)
def test_an_invalid_host_is_refused(host: str, sentence: str) -> None:
    with pytest.raises(AddressError, match=sentence):
        resolve(host)


CONFIG = """
[hosts.web]
address = "deploy@web.example.net:8022"
identities = ["~/keys/web", "/keys/b"]

[hosts.here]
address = "unix:/run/farhand/farhandd.sock"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return path


KEYS = (Path.home() / "keys/web", Path("/keys/b"))


@pytest.mark.parametrize(
    ("host", "options", "address"),
    [
        ("web", {}, Address(host="web.example.net", port=8022, user="deploy", identities=KEYS)),
        ("ann@web", {}, Address(host="web.example.net", port=8022, user="ann", identities=KEYS)),
        ("web:1", {}, Address(host="web.example.net", port=1, user="deploy", identities=KEYS)),
        ("ann@web:1", {"user": "bob", "port": 2}, Address(host="web.example.net", port=2, user="bob", identities=KEYS)),
        ("here", {}, Address(socket="/run/farhand/farhandd.sock")),
        ("ann@here", {}, Address(socket="/run/farhand/farhandd.sock", user="ann")),
        ("other", {"port": 7}, Address(host="other", port=7)),
    ],
)
def test_a_name_from_the_configuration_can_be_overridden(
    config: Path, host: str, options: Any, address: Address
) -> None:
    assert resolve(host, config=config, **options) == address


def test_a_socket_has_no_port(config: Path) -> None:
    with pytest.raises(AddressError, match="has no port"):
        resolve("here:7022", config=config)


def test_the_configuration_file_is_optional(tmp_path: Path) -> None:
    assert resolve("web", config=tmp_path / "none") == Address(host="web")
