"""A mistake in `config.toml` is reported with its place; directories follow the XDG specification."""

from __future__ import annotations

from pathlib import Path

import pytest

from farhand_client import AddressError
from farhand_client.config import (
    ClientConfig,
    HostEntry,
    config_directory,
    load,
    load_default_host,
    load_hosts,
    state_directory,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_the_whole_file_is_read(path: Path) -> None:
    path.write_text('default_host = "a"\n[hosts.a]\naddress = "b"\nidentities = ["~/k"]\n[hosts.c]\naddress = "d"')
    hosts = {"a": HostEntry("b", ("~/k",)), "c": HostEntry("d")}
    assert load(path) == ClientConfig("a", hosts)
    assert load_hosts(path) == hosts
    assert load_default_host(path) == "a"


def test_an_empty_file_is_valid(path: Path) -> None:
    path.write_text("")
    assert load(path) == ClientConfig(None, {})


def test_a_missing_file_has_no_default_host(path: Path) -> None:
    assert load_default_host(path) is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hosts = 1", "hosts must be a table"),
        ("hosts.a = 1", "hosts.a must be a table"),
        ("default_host = 1", "default_host must be a string"),
        ("[host.a]", "unknown key 'host'; did you mean 'hosts'?"),
        ('[hosts.a]\naddress = "b"\nidentity = []', r"unknown key 'identity' in [hosts.a]; did you mean 'identities'?"),
        ('[hosts.a]\naddress = "b"\nzzz = 1', "unknown key 'zzz' in [hosts.a]; the keys are address, identities"),
        ("[hosts.a]", "hosts.a.address is missing"),
        ("[hosts.a]\naddress = 7", "hosts.a.address must be a string"),
        ('[hosts.a]\naddress = "b"\nidentities = "c"', "hosts.a.identities must be an array of strings"),
        ('[hosts.a]\naddress = "b"\nidentities = [1]', "hosts.a.identities must be an array of strings"),
    ],
)
def test_a_mistake_is_reported_with_its_place(path: Path, text: str, sentence: str) -> None:
    path.write_text(text)
    with pytest.raises(AddressError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: {sentence}"


@pytest.mark.parametrize("text", ["[", 'x = "\udcff"'])
def test_a_file_that_is_not_toml_is_reported(path: Path, text: str) -> None:
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(AddressError, match="is not valid TOML") as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    with pytest.raises(AddressError, match=f"cannot read {tmp_path}: Is a directory"):
        load(tmp_path)


def test_directories_follow_the_xdg_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/etc/ann")
    monkeypatch.setenv("XDG_STATE_HOME", "relative paths are ignored")
    assert config_directory() == Path("/etc/ann/farhand")
    assert state_directory() == Path("/home/ann/.local/state/farhand")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert config_directory() == Path("/home/ann/.config/farhand")
