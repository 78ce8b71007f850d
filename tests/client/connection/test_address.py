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
        ("web.example.", Address(host="web.example."), "web.example."),
        ("x" * 63, Address(host="x" * 63), "x" * 63),
        ("bücher.example", Address(host="bücher.example"), "bücher.example"),
        ("_srv.a_b", Address(host="_srv.a_b"), "_srv.a_b"),
        ("unix:relative:odd@name", Address(socket="relative:odd@name"), "unix:relative:odd@name"),
        ("ssh:web", Address(host="web", port=0, ssh=True), "ssh:web"),
        ("ssh:ann@web:2222", Address(host="web", port=2222, user="ann", ssh=True), "ssh:web:2222"),
        ("ssh:[::1]", Address(host="::1", port=0, ssh=True), "ssh:[::1]"),
        ("ssh:22", Address(host="ssh", port=22), "ssh:22"),
    ],
)
def test_a_valid_host_is_parsed(host: str, address: Address, text: str) -> None:
    assert resolve(host) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("", "HOST is empty; write"),
        (" \t", "HOST is blank; write"),
        ("@web", "the user before the @ is missing"),
        ("ann@", "the name after the @ is missing"),
        (":7022", "the name before the port is missing"),
        ("-x", "is not a host: a name cannot begin with a hyphen"),
        ("two words", "is not a host: a name cannot contain ' '"),
        ("a/b", "is not a host: a name cannot contain '/'"),
        ("a\n", r"is not a host: a name cannot contain '\\n'"),
        ("\udcff", r"is not a host: a name cannot contain '\\udcff'"),
        ("\udcff@web", "a user name cannot contain control characters or bytes that are not UTF-8"),
        ("u" * 256 + "@web", "the user name is longer than 255 characters"),
        (".", "is not a host name: it begins with a dot"),
        (".example", "is not a host name: it begins with a dot"),
        ("ann@a..b:7022", "'ann@a..b:7022' is not a host name: there is nothing between two of its dots"),
        ("a..", "there is nothing between two of its dots"),
        ("a\u3002\uff0eb", "there is nothing between two of its dots"),
        ("x" * 64, r"its part 'x{20}…' has 64 characters, more than 63"),
        ("web." + "x" * 64 + ".example", r"its part 'x{20}…' has 64 characters"),
        ("ü" * 60, r"'ü{20}…' cannot be encoded for the DNS: label empty or too long"),
        ("\u05d0a1", "'\u05d0a1' cannot be encoded for the DNS: Violation of BIDI"),
        (".".join(["x" * 60] * 5), "is longer than 253 characters"),
        ("ssh://root@h", "'ssh://root@h' is a URL; write root@h$"),
        ("ssh://root:secret@h:22/home", "is a URL; write root@h$"),
        ("http://h:80/x?y", "is a URL; write h$"),
        ("https://[::1]", r"is a URL; write \[::1\]$"),
        ("farhand://h:7023", "is a URL; write h:7023$"),
        ("farhand://", r"is a URL; write \[user@\]name\[:port\], unix:PATH, ssh:\[user@\]name or"),
        ("ssh:", "HOST is empty"),
        ("ann@ssh:web", "'ann@ssh:web': write ssh:ann@web"),
        ("ssh:-oProxyCommand=x", "a name cannot begin with a hyphen"),
        ("ssh:-x", "a name cannot begin with a hyphen"),
        ("ssh:web:x", "'x' is not a port number"),
        ("root@unix:/path", "'root@unix:/path': write unix:/path; the kernel tells"),
        ("web:", "the port after the colon is missing"),
        ("web:0", "'0' is not a port number from 1 to 65535"),
        ("web:65536", "'65536' is not a port"),
        ("web:99999", "'99999' is not a port"),
        ("web:٣", "is not a port"),
        ("web:+1", "is not a port"),
        ("::1", r"in brackets, as \[ADDRESS\]"),
        ("[::1", "write an IPv6 address as"),
        ("[::1]7022", "write an IPv6 address as"),
        ("[::1]:", "the port after the colon is missing"),
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


def test_a_configured_name_need_not_be_a_host_name(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[hosts.'a..b']\naddress = 'web'")
    assert resolve("a..b", config=config) == Address(host="web")


def test_a_wrong_address_in_the_configuration_is_reported_with_its_line(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[hosts.web]\naddress = 'web..example'\n[hosts.other]\naddress = 'other'")
    with pytest.raises(AddressError) as caught:
        resolve("web", config=config)
    nothing = "'web..example' is not a host name: there is nothing between two of its dots"
    assert str(caught.value) == f"{config}:2: [hosts.web] address: {nothing}"
    assert resolve("other", config=config) == Address(host="other")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"port": 0}, "the port 0 is not a number from 1 to 65535"),
        ({"port": "22"}, "the port '22' is not a number"),
        ({"user": ""}, "the user is empty"),
        ({"user": "a\nb"}, "a user name cannot contain control characters"),
    ],
)
def test_a_wrong_user_or_port_is_refused(options: Any, sentence: str) -> None:
    with pytest.raises(AddressError, match=sentence):
        resolve("web", **options)


@pytest.mark.parametrize("host", [None, b"web", Path("/run/x.sock")])
def test_a_host_is_a_str(host: Any) -> None:
    with pytest.raises(TypeError, match="it must be a str"):
        resolve(host)


def test_an_address_knows_where_its_name_was_looked_up(config: Path) -> None:
    assert (resolve("web", config=config).config, resolve("web", config=config).alias) == (config, "web")
    assert (resolve("other", config=config).config, resolve("other", config=config).alias) == (config, None)


# Hosts on the way


def written_config(directory: Path, text: str) -> Path:
    path = directory / "config.toml"
    path.write_text(text)
    return path


def way(address: Address) -> list[str]:
    return [str(each) for each in (*address.via, address)]


def test_hosts_on_the_way_are_named_by_the_caller_or_the_file(tmp_path: Path) -> None:
    config = written_config(
        tmp_path,
        '[hosts.inner]\naddress = "10.0.0.7"\nvia = ["gate"]\n[hosts.gate]\naddress = "ann@gate.example:7023"\n'
        'identities = ["/keys/gate"]\n',
    )

    inner = resolve("inner", config=config)
    assert way(inner) == ["gate.example:7023", "10.0.0.7"]
    assert inner.via[0].user == "ann"
    assert inner.via[0].identities == (Path("/keys/gate"),)
    assert way(resolve("inner", config=config, via=["other", "unix:/run/x.sock"])) == [
        "other",
        "unix:/run/x.sock",
        "10.0.0.7",
    ]
    assert way(resolve("web", via=["ssh:gate"])) == ["ssh:gate", "web"]
    assert way(resolve("unix:/run/x.sock", via=["gate"], config=config)) == ["gate.example:7023", "unix:/run/x.sock"]


def test_none_stands_for_no_hosts_on_the_way(tmp_path: Path) -> None:
    config = written_config(tmp_path, '[hosts.inner]\naddress = "10.0.0.7"\nvia = ["gate"]\n')
    assert resolve("inner", config=config, via=["none"]).via == ()


def test_only_the_nearest_host_is_reached_as_its_own_section_says(tmp_path: Path) -> None:
    config = written_config(
        tmp_path,
        '[hosts.a]\naddress = "a"\nvia = ["outer"]\n[hosts.b]\naddress = "b"\nvia = ["other"]\n',
    )
    assert way(resolve("c", config=config, via=["a", "b"])) == ["outer", "a", "b", "c"]


@pytest.mark.parametrize(
    ("via", "sentence"),
    [
        (["a"], "'inner' is reached through hosts that lead to each other: inner → a → b → a$"),
        (["inner"], "'inner' is reached through hosts that lead to each other: inner → inner$"),
        (["x", "y", "x"], "the way to inner leads through x twice"),
        (["x", "inner:7022"], "the way to inner leads through inner twice"),
        (["1", "2", "3", "4", "5", "6", "7", "8", "9"], "inner is reached through 9 hosts; 8 are the most"),
        (
            ["gate", "ssh:web"],
            "ssh:web is reached by ssh alone: set ProxyJump in ssh's configuration, or name it first",
        ),
        (["-x"], "'-x' is not a host"),
    ],
)
def test_a_way_that_leads_nowhere_is_refused(via: list[str], sentence: str, tmp_path: Path) -> None:
    config = written_config(tmp_path, '[hosts.a]\naddress = "a"\nvia = ["b"]\n[hosts.b]\naddress = "b"\nvia = ["a"]\n')
    with pytest.raises(AddressError, match=sentence):
        resolve("inner", config=config, via=via)


def test_a_way_of_eight_hosts_is_the_longest() -> None:
    assert len(resolve("inner", via=list("12345678")).via) == 8


def test_a_host_that_ssh_connects_to_is_on_no_way() -> None:
    with pytest.raises(AddressError, match="ssh:web is reached by ssh alone"):
        resolve("ssh:web", via=["gate"])


def test_what_arrives_at_a_socket_asks_for_no_key() -> None:
    assert [resolve(host).asks_for_no_key for host in ("web", "unix:/x", "ssh:web")] == [False, True, True]
