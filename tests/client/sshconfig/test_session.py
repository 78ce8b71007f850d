"""A command line and the configuration of its host say together what is to be done."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from farhand_client.connection.address import resolve
from farhand_client.errors import AddressError
from farhand_client.sshconfig.command_line import parse_command_line
from farhand_client.sshconfig.line import SshConfigError
from farhand_client.sshconfig.session import SshSession


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config"
    monkeypatch.setenv("FARHAND_SSH_CONFIG", str(path))
    path.touch()
    return path


def session(*words: str) -> SshSession:
    return SshSession(parse_command_line(words))


def test_the_command_line_comes_before_the_file(config: Path) -> None:
    config.write_text("Host web\nUser ann\nPort 5\nBatchMode yes\nServerAliveInterval 30\nConnectTimeout 7\n")
    found = session("-p", "9", "-oServerAliveCountMax=5", "web", "ls")
    assert (found.user, found.port, found.host.user, found.host.port) == (None, 9, "ann", 9)
    assert (found.timeout(30.0), found.keepalive(15.0), found.in_batch) == (7.0, 50.0, True)
    assert session("other").keepalive(15.0) == 15.0


@pytest.mark.parametrize(
    ("words", "terminal", "terminal_without"),
    [
        (["web"], True, False),
        (["web", "ls"], False, False),
        (["-t", "web", "ls"], True, False),
        (["-tt", "web", "ls"], True, True),
        (["-T", "web"], False, False),
        (["-N", "web"], False, False),
        (["-n", "-t", "web", "ls"], False, False),
        (["-oRequestTTY=force", "web", "ls"], True, True),
        (["-oRemoteCommand=ls", "web"], False, False),
    ],
)
def test_a_terminal_is_requested_as_ssh_does(
    config: Path, words: list[str], terminal: bool, terminal_without: bool
) -> None:
    assert session(*words).wants_terminal(stdin_is_terminal=True)[0] is terminal
    assert session(*words).wants_terminal(stdin_is_terminal=False)[0] is terminal_without


@pytest.mark.parametrize(
    ("words", "checking"),
    [
        ([], "ask"),
        (["-oBatchMode=yes"], "refuse"),
        (["-oStrictHostKeyChecking=yes"], "refuse"),
        (["-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null"], "accept"),
        (["-oStrictHostKeyChecking=accept-new", "-oBatchMode=yes"], "accept"),
    ],
)
def test_unknown_host_keys_are_trusted_as_for_ssh(config: Path, words: list[str], checking: str) -> None:
    assert session(*words, "web").checking == checking


@pytest.mark.parametrize(
    ("host", "target", "port"),
    [
        ("web", "web", None),
        ("web:7044", "web", 7044),
        ("[::1]:7044", "[::1]", 7044),
        ("::1", "[::1]", None),
        ("unix:/run/x:1", "unix:/run/x:1", None),
        ("web:22", "web", None),
    ],
)
def test_hosts_of_ssh_and_of_the_other_commands_are_taken(
    config: Path, host: str, target: str, port: int | None
) -> None:
    assert (session(host).target, session(host).port) == (target, port)


def test_variables_are_passed_on_and_set(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("SendEnv FAR_* LANG\nSetEnv FAR_B=%n${FAR_A} C=1\n")
    monkeypatch.setenv("FAR_A", "a")
    monkeypatch.setenv("FAR_B", "b")
    monkeypatch.setenv("LANG", "C")
    assert session("web").environment == {b"FAR_A": b"a", b"FAR_B": b"weba", b"LANG": b"C", b"C": b"1"}


def test_forwards_come_from_both(config: Path) -> None:
    config.write_text("LocalForward 1 a:2\nRemoteForward 3 b:4\n")
    assert session("-L5:c:6", "-D7", "web").forwards() == [
        ("-L", "5:c:6"),
        ("-L", "1:a:2"),
        ("-R", "3:b:4"),
        ("-D", "7"),
    ]
    assert session("-oClearAllForwardings=yes", "web").forwards() == []


def test_the_agent_is_forwarded_only_if_that_is_asked_for(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/a")
    assert session("web").agent_to_forward is None
    assert session("-A", "web").agent_to_forward == "/a"
    assert session("-A", "-oIdentityAgent=/b", "web").agent_to_forward == "/b"
    assert session("-oForwardAgent=/c/%n", "web").agent_to_forward == "/c/web"
    config.write_text("ForwardAgent yes\n")
    assert session("-a", "web").agent_to_forward is None


def test_another_subsystem_than_sftp_is_refused(config: Path) -> None:
    session("-s", "web", "sftp").check()
    with pytest.raises(SshConfigError, match="no subsystem 'netconf'; Farhand has sftp only"):
        session("-s", "web", "netconf").check()


@pytest.mark.parametrize(
    ("line", "via"),
    [
        (["-J", "gate,ann@inner:7023"], ["gate", "inner:7023"]),
        (["-o", "ProxyJump=gate"], ["gate"]),
        (["-J", "none"], []),
        ([], ["other"]),
    ],
)
def test_jumps_of_the_command_line_are_for_hosts_of_config_toml_too(
    line: list[str], via: list[str], tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[hosts.web]\naddress = "web.example.net"\nvia = ["other"]\n')
    found = session("-F", "none", *line, "web", "true")
    address = resolve(found.target, config=config, ssh=found.source)
    assert (address.host, [str(each) for each in address.via]) == ("web.example.net", via)
    assert (found.way is None) is (not line)


def test_a_way_for_ssh_alone_is_refused_for_hosts_of_config_toml_too(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[hosts.web]\naddress = "web.example.net"\n')
    found = session("-F", "none", "-o", "ProxyCommand=nc %h %p", "web", "true")
    with pytest.raises(AddressError, match="ProxyCommand"):
        resolve(found.target, config=config, ssh=found.source)
    found = session("-F", "none", "-6", "web", "true")
    assert resolve(found.target, config=config, ssh=found.source).family == socket.AF_INET6
