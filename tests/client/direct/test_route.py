"""What HOST means on the direct path: the same as to the asyncio client, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.connection.address import resolve
from farhand_client.direct.deadline import NotDirectError
from farhand_client.direct.route import Route, default_host, expanded_path, find_route, plain_route
from farhand_client.errors import AddressError

CONFIG = """\
default_host = "usual"
[hosts.web]
address = "ann@build.example:7100"
identities = ["/keys/web", "~/.ssh/web"]
[hosts.here]
address = "unix:/run/s"
[hosts.inner]
address = "inner.example"
via = ["web"]
[hosts.by_ssh]
address = "ssh:web"
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.delenv("FARHAND_HOST", raising=False)
    (tmp_path / "farhand").mkdir()
    return tmp_path / "farhand/config.toml"


def same(text: str, config: Path | None = None) -> None:
    """Check that a HOST means the same on both paths."""
    found = find_route(text) if config is not None else plain_route(text)
    address = resolve(text, config=config)
    assert found == Route(address.host, address.port, address.user, address.socket, tuple(map(str, address.identities)))
    assert str(found) == str(address)


@pytest.mark.parametrize(
    "text",
    ["web", "a.b.example.", "ann@web:7100", "127.0.0.1:1", "web:65535", "unix:/run/s.sock", "unix:relative", "A-b_c"],
)
def test_a_plain_host_means_the_same_as_to_the_asyncio_client(text: str) -> None:
    same(text)


OTHERS = ["", " ", "web:", ":1", "@web", "ann@", "web:0", "web:70000", "[::1]", "::1", "-x", "a..b", ".a", "x" * 64]
OTHERS += [
    "ssh:web",
    "ssh:ann@web",
    "é",
    "ssh://web",
    "ann@unix:/s",
    "unix:",
    "unix:/" + "x" * 200,
    "a b@web",
    "web/x",
    "\udcff",
]


@pytest.mark.parametrize("text", OTHERS)
def test_every_other_host_is_left_to_the_asyncio_client(text: str) -> None:
    with pytest.raises(NotDirectError):
        plain_route(text)


@given(st.text("ab.@:-[]1/é ", max_size=12))
def test_no_host_is_understood_that_is_wrong(text: str) -> None:
    try:
        plain_route(text)
    except NotDirectError:
        return
    same(text)


def test_a_name_is_looked_up_in_the_configuration(config: Path) -> None:
    config.write_text(CONFIG)
    same("web", config)
    same("bob@web", config)
    same("other", config)
    assert find_route("web").identities == ("/keys/web", "/home/ann/.ssh/web")
    assert default_host() == "usual"
    for text in ("here", "web:7022", "web:1", "inner", "by_ssh"):
        with pytest.raises(NotDirectError):  # rare
            find_route(text)


def test_without_a_configuration_there_is_no_default(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (default_host(), find_route("web")) == (None, Route("web"))
    monkeypatch.setenv("FARHAND_HOST", "named")
    assert default_host() == "named"


def test_a_configuration_with_a_mistake_is_left_to_the_asyncio_client(config: Path) -> None:
    config.write_text("hosts = 1")
    with pytest.raises(AddressError):
        resolve("web", config=config)
    for look in (default_host, lambda: find_route("web")):
        with pytest.raises(NotDirectError):
            look()


def test_a_path_whose_home_is_unknown_is_left_to_the_asyncio_client() -> None:
    assert expanded_path("/a/~b") == "/a/~b"
    with pytest.raises(NotDirectError):
        expanded_path("~no-such-user-anywhere/key")


def test_hosts_of_sshs_configuration_are_known(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ssh").write_text("Host wb\nHostName 10.0.0.1\nUser ann\nHost far\nProxyJump wb\nHost own\nPort 2222\n")
    monkeypatch.setenv("FARHAND_SSH_CONFIG", str(tmp_path / "ssh"))
    found = find_route("wb")
    assert (found.host, found.user, found.port) == ("10.0.0.1", "ann", 7022)
    for name in ("far", "own"):
        with pytest.raises(NotDirectError):
            find_route(name)
