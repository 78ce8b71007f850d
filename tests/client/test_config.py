"""A mistake in `config.toml` is reported with its place; directories follow the XDG specification."""

from __future__ import annotations

from pathlib import Path

import pytest

from farhand_client import AddressError
from farhand_client.config import (
    ClientConfig,
    HostEntry,
    config_directory,
    helper_configured,
    load,
    load_default_host,
    load_hosts,
    load_predict,
    state_directory,
)
from farhand_protocol.quantities import TIME_FORMS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_the_whole_file_is_read(path: Path) -> None:
    first = 'default_host = "a"\npredict = "never"\n'
    path.write_text(first + '[hosts.a]\naddress = "b"\nidentities = ["~/k"]\n[hosts.c]\naddress = "d"')
    hosts = {"a": HostEntry("b", ("~/k",)), "c": HostEntry("d")}
    assert load(path) == ClientConfig("a", hosts, "never")
    assert load_hosts(path) == hosts
    assert load_default_host(path) == "a"
    assert load_predict(path) == "never"


def test_the_file_says_whether_the_helper_may_be_used(path: Path) -> None:
    path.write_text('mux = "off"\nmux_idle = "5m"\n[hosts.a]\naddress = "b"\nmux = "auto"')
    assert load(path) == ClientConfig(None, {"a": HostEntry("b", mux="auto")}, mux="off", mux_idle=300.0)


def test_an_empty_file_is_valid(path: Path) -> None:
    path.write_text("")
    assert load(path) == ClientConfig(None, {})
    assert load_predict(path) == "auto"


def test_a_missing_file_has_no_default_host(path: Path) -> None:
    assert load_default_host(path) is None
    assert load_predict(path) == "auto"


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ("hosts = 1", 1, "hosts must be sections, one for each host: [hosts.NAME], not 1"),
        ("[[hosts]]", 1, "hosts must be sections, one for each host: [hosts.NAME], not a list"),
        ("hosts.a = 1", 1, "[hosts.a] must be a section with an address, not 1"),
        ("[hosts]\n\na = 'b'", 3, "[hosts.a] must be a section with an address, not 'b'"),
        ("[hosts]\naddress = 'b'", 2, "[hosts] address: a host is a section of its own: write [hosts.NAME] above it"),
        ("# x\ndefault_host = 1", 2, 'default_host must be a string, such as "ann@web.example.net", not 1'),
        ("default_host = ''", 1, 'default_host must be a string, such as "ann@web.example.net", not an empty one'),
        ("predict = true", 1, 'predict must be "auto" or "always" or "never", not true'),
        ("[hosts.a]\npredict = 'auto'", 2, "unknown key 'predict' in [hosts.a]; it belongs above the first section"),
        ("defaulthost = 'a'", 1, "unknown key 'defaulthost'; did you mean 'default_host'?"),
        ("[host.a]", 1, "unknown section [host]; did you mean [hosts]?"),
        ("[a]\naddress = 'b'", 1, "unknown section [a]; a host is a section [hosts.a]"),
        ("address = 'b'", 1, "unknown key 'address'; it belongs in the section of a host, [hosts.NAME]"),
        ("user = 'b'", 1, "unknown key 'user'; it belongs in the section of a host, [hosts.NAME]"),
        ("zzz = 1", 1, "unknown key 'zzz'; the keys are default_host, predict, mux, mux_idle, hosts"),
        ("mux = 1", 1, 'mux must be "auto" or "off", not 1'),
        ('[hosts.a]\naddress = "b"\nmux = "on"', 3, """[hosts.a] mux must be "auto" or "off", not 'on'"""),
        ('mux_idle = "1 week"', 1, f"mux_idle must be {TIME_FORMS}, not '1 week'"),
        ("mux_idle = true", 1, f"mux_idle must be {TIME_FORMS}, not true"),
        ("mux_idle = 0.5", 1, "mux_idle must be from 1 second to 1 day, not 0.5"),
        ('mux_idle = "2d"', 1, "mux_idle must be from 1 second to 1 day, not '2d'"),
        ('[hosts.a]\nadress = "b"', 2, "unknown key 'adress' in [hosts.a]; did you mean 'address'?"),
        ("hosts.a = { adress = 'b' }", 1, "unknown key 'adress' in [hosts.a]; did you mean 'address'?"),
        ("[hosts.'a b'] # x\n  adress = 'b'", 2, "unknown key 'adress' in [hosts.a b]; did you mean 'address'?"),
        (
            '[hosts.b]\naddress = "b"\n[hosts.a]\nidentity = [\n1,\n]',
            4,
            "unknown key 'identity' in [hosts.a]; did you mean 'identities'?",
        ),
        ("[hosts.a]\nHostName = 'b'", 2, "unknown key 'HostName' in [hosts.a]; did you mean 'address'?"),
        (
            "[hosts.a]\naddress = 'b'\nport = 1",
            3,
            """unknown key 'port' in [hosts.a]; it is written in the address: address = "user@name:port\"""",
        ),
        (
            "[hosts.a]\naddress = 'b'\ndefault_host = 'a'",
            3,
            "unknown key 'default_host' in [hosts.a]; it belongs above the first section",
        ),
        (
            '[hosts.a]\naddress = "b"\nzzz = 1',
            3,
            "unknown key 'zzz' in [hosts.a]; the keys are address, identities, mux, via",
        ),
        ("\n[hosts.a]", 2, '[hosts.a] has no address; add one, such as address = "a"'),
        (
            "[hosts.a]\naddress = 7",
            2,
            '[hosts.a] address must be a string, such as "ann@web.example.net", not 7',
        ),
        (
            "[hosts.a]\naddress = true",
            2,
            '[hosts.a] address must be a string, such as "ann@web.example.net", not true',
        ),
        (
            '[hosts.a]\naddress = "b"\nidentities = "c"',
            3,
            """[hosts.a] identities must be an array of strings, such as ["~/.ssh/id_web"], not 'c'""",
        ),
        (
            '[hosts.a]\naddress = "b"\nvia = "gate"',
            3,
            """[hosts.a] via must be an array of hosts on the way, such as ["gate"], not 'gate'""",
        ),
        (
            '[hosts.a]\naddress = "b"\nvia = [" "]',
            3,
            '[hosts.a] via must be an array of hosts on the way, such as ["gate"]',
        ),
        (
            '[hosts.a]\naddress = "b"\nproxyjump = 1',
            3,
            "unknown key 'proxyjump' in [hosts.a]; did you mean 'via'?",
        ),
        (
            '[hosts.a]\naddress = "b"\nidentities = [1]',
            3,
            '[hosts.a] identities must be an array of strings, such as ["~/.ssh/id_web"]',
        ),
    ],
)
def test_a_mistake_is_reported_with_its_line_and_what_to_write(path: Path, text: str, line: int, sentence: str) -> None:
    path.write_text(text)
    with pytest.raises(AddressError) as caught:
        load(path)
    assert str(caught.value) == f"{path}:{line}: {sentence}"


def test_text_without_quotes_is_recognised(path: Path) -> None:
    path.write_text("[hosts.a]\naddress = web")
    with pytest.raises(AddressError, match=r"Invalid value \(at line 2, column 11\); is it text without quotes\?"):
        load(path)


def test_a_value_is_found_in_the_file_again(path: Path) -> None:
    path.write_text("default_host = 'a'\n[hosts.a]\naddress = 'b'")
    assert load(path).place("hosts", "a", "address") == f"{path}:3: [hosts.a] address"
    assert load(path).place("default_host") == f"{path}:1: default_host"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[", "is not valid TOML"),
        ("x = " + "[" * 5000, "is not valid TOML: it is nested too deeply"),
        ("x = " + "9" * 5000, "is not valid TOML: Exceeds the limit"),
        ('x = "\udcff"', "is not UTF-8 at byte 5"),
    ],
    ids=lambda value: value[:10],
)
def test_a_file_that_is_not_toml_is_reported(path: Path, text: str, what: str) -> None:
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(AddressError, match=what) as caught:
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


@pytest.mark.parametrize(
    ("text", "allowed"), [(None, True), ("", True), ('mux = "auto"', True), ('mux = "off"', False), ("mux = 1", False)]
)
def test_the_file_may_say_that_there_is_no_helper(
    text: str | None, allowed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    if text is not None:
        (tmp_path / "farhand").mkdir()
        (tmp_path / "farhand/config.toml").write_text(text)
    assert helper_configured() is allowed
