"""Configurations of ssh mean here what they mean to `ssh -G`."""

from __future__ import annotations

import pwd
import subprocess
from collections.abc import Callable, Iterable
from os import getuid
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farhand_client.sshconfig.command_line import parse_command_line
from farhand_client.sshconfig.dump import printed_config
from farhand_client.sshconfig.line import SshConfigError
from farhand_client.sshconfig.lookup import look_up
from farhand_client.sshconfig.reading import ConfigFiles
from farhand_client.sshconfig.session import SshSession

pytestmark = pytest.mark.needs("ssh")

NOT_COMPARED: Final = (
    "algorithms",
    "ciphers ",
    "macs ",
    "gssapi",
    "forwardx11trusted ",
    "securitykeyprovider ",
    "pkcs11",
)
"""What Farhand has no defaults for, and what Debian has changed."""

NAMES: Final = st.sampled_from(["web", "db", "web.example.com", "10.0.0.7", "Web"])

PATTERNS: Final = st.sampled_from(
    ["web", "w*", "?eb", "*", "!web", "*.example.com", "10.0.*", '"web"', "db web", "* !db", "web,db", "WEB", '"']
)

CONDITIONS: Final = st.sampled_from(
    [
        *("all", "host web", "originalhost w*", "user ann", "!user ann", "localuser root", "host web,db", "final"),
        *("canonical", "!final host web", 'exec "test %h = web"', "exec false", "!exec false", "host *.example.com"),
        *("host web user ann", "all # what", "host", "nonsense x", 'host "web"', "!all", "host=web", "final all"),
        *("host db,!web", 'exec "test %n.%p.%r = web.22.ann"', "user=ann host=web", "originalhost web final"),
        *("", "host web # comment", 'exec "test -n %C"', 'exec "echo %q"', "host in web", "host web exec true"),
    ]
)

LINES: Final = st.sampled_from(
    [
        *("HostName %h.example.com", "HostName 10.1.1.1", "HostName=x", "User ann", "User = bob", 'User "c d"'),
        *("Port 2222", "Port 22", "Port x", "Port 0", "Port ssh", "IdentityFile ~/.ssh/a", "IdentityFile none"),
        *("IdentityFile %d/%h", "IdentityFile ${HOME}/key", "IdentitiesOnly yes", "IdentityAgent none"),
        *("IdentityAgent ${HOME}/agent", "IdentityAgent $SSH_AUTH_SOCK", "IdentityAgent ~/a%h", "ProxyJump a,b@c:22"),
        *("ProxyJump none", "ProxyJump a:x", "ProxyJump ssh://u@h:23", "ProxyJump [::1]:22", "ProxyCommand nc %h %p"),
        *("ProxyJump [fe80::1]", "ProxyCommand = nc", "ConnectTimeout 10", "ConnectTimeout 1h30m", "ConnectTimeout x"),
        *("ConnectTimeout none", "ServerAliveInterval 5", "ServerAliveCountMax 7", "SendEnv A B_*", "SendEnv -A*"),
        *("SendEnv A=B", "SetEnv A=1 B=2", "SetEnv A", 'SetEnv "A=x y"', "RequestTTY force", "RequestTTY maybe"),
        *("RemoteCommand echo %h  x", "LogLevel debug", "LogLevel loud", "SyslogFacility local3", "EscapeChar ^b"),
        *("EscapeChar none", "EscapeChar %", "EscapeChar abc", "StrictHostKeyChecking off"),
        *(
            "StrictHostKeyChecking accept-new",
            "ControlMaster auto",
            "ControlPath ~/.ssh/%r@%h:%p",
            "ControlPersist 10m",
        ),
        *("ControlPersist yes", "ControlPersist never", "ForwardAgent yes", "ForwardAgent ~/agent", "Compression yes"),
        *("LocalForward 8080 db:80", "LocalForward [::1]:80 [::2]:81", "LocalForward 1"),
        *("LocalForward a:b c", "LocalForward 0 a:1", "RemoteForward 0 a:1", "RemoteForward 9000", "DynamicForward 1"),
        *("RemoteForward /tmp/s a:1", "DynamicForward h:1080", "DynamicForward /a"),
        *("LocalForward /tmp/s host:7", "ClearAllForwardings no", "GatewayPorts yes"),
        *("ExitOnForwardFailure yes", "Tunnel yes", "TunnelDevice 1", "TunnelDevice any:3", "TunnelDevice x"),
        *("UserKnownHostsFile /dev/null", "UserKnownHostsFile ~/a ~/b", "UserKnownHostsFile none x", "Nonsense yes"),
        *("IgnoreUnknown Non*", "AddKeysToAgent confirm 5m", "AddKeysToAgent 1h", "AddKeysToAgent maybe", "Host"),
        *("AddKeysToAgent yes", "RekeyLimit 1G 1h", "RekeyLimit 5", "RekeyLimit default none", "IPQoS ef"),
        *("PubkeyAuthentication host-bound", "PubkeyAuthentication no", "CheckHostIP yes", "VerifyHostKeyDNS ask"),
        *("StreamLocalBindMask 0117", "StreamLocalBindMask 9", "PermitRemoteOpen a:1 b:*", "CertificateFile ~/c"),
        *("AddressFamily inet6", "AddressFamily x", "ConnectionAttempts 3", "ConnectionAttempts -1", "Protocol 2"),
        *("RSAAuthentication yes", "UseRoaming no", "KeepAlive no", "ChallengeResponseAuthentication no"),
        *("User", "User ann bob", "# User zoe", "   ", "\tUser\tann", "User ann # comment", 'User "ann', "user ANN"),
        *("SessionType none", "StdinNull yes", "HostKeyAlias %h"),
        *("GlobalKnownHostsFile none", "LogVerbose none", "Include /nowhere/*", "Include", "User ann\\ b", "User 'a'"),
    ]
)

SECTIONS: Final = st.one_of(
    LINES,
    LINES,
    LINES,
    st.builds("Host {}".format, PATTERNS),
    st.builds("Match {}".format, CONDITIONS),
)


WORDS: Final = st.sampled_from(
    [
        *("-p", "-p22", "-p2222", "-l", "ann", "-lbob", "-t", "-tt", "-T", "-q", "-v", "-vv", "-n", "-N", "-s", "-A"),
        *("-a", "-x", "-X", "-Y", "-C", "-4", "-6", "-g", "-k", "-K", "-M", "-L", "8080:db:80", "-L1:a:2", "-R9000"),
        *(
            "-R",
            "0:a:1",
            "-D1080",
            "-D",
            "-J",
            "a",
            "-Ja,b@c:22",
            "-W",
            "-e",
            "^b",
            "-enone",
            "-o",
            "Port=5",
            "-oUser=z",
        ),
        *("-oUser", "-oNonsense=1", "-i", "/etc/passwd", "-i/none", "-S", "/x", "-b", "-w", "1:any", "-Tnq", "-ttp9"),
        *("--", "-", "web", "ann@web", "ssh://u@web:99", "ssh://web/x", "@web", "a@b@web", "-z", "-1", "-2", "-y"),
        *("-oProxyCommand=nc", "-oSendEnv=A", "-oRequestTTY=no", "-oSessionType=none", "-O", "check"),
    ]
)


def by_ssh(config: Path, host: str) -> list[str] | None:
    """Return the lines of `ssh -G`; None if it fails."""
    done = subprocess.run(
        ["ssh", "-G", "-F", config, host], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    return compared(done.stdout.splitlines()) if done.returncode == 0 else None


def here(config: Path, host: str) -> list[str] | None:
    """Return what `by_ssh` should."""
    try:
        return compared(printed_config(look_up(host, ConfigFiles(str(config)))))
    except SshConfigError:
        return None


def compared(lines: Iterable[str]) -> list[str]:
    return [line for line in lines if not any(each in line.partition(" ")[0] + " " for each in NOT_COMPARED)]


@given(lines=st.lists(SECTIONS, max_size=12), host=NAMES)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_configuration_means_what_it_means_to_ssh(
    lines: list[str], host: str, new_directory: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", pwd.getpwuid(getuid()).pw_dir)
    monkeypatch.setenv("SSH_AUTH_SOCK", "/nowhere/agent")
    config = new_directory() / "config"
    config.write_text("\n".join(lines) + "\n")
    assert here(config, host) == by_ssh(config, host)


@given(words=st.lists(WORDS, max_size=7))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_command_line_means_what_it_means_to_ssh(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", pwd.getpwuid(getuid()).pw_dir)
    line = ["-G", "-Fnone", *words, "host", "command"]
    # Some of these lines make ssh write files.
    done = subprocess.run(
        ["ssh", *line], cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    expected = compared(done.stdout.splitlines()) if done.returncode == 0 else None
    try:
        found = compared(printed_config(SshSession(parse_command_line(line)).host))
    except SshConfigError:
        found = None
    if expected is not None and found is not None and any(word.startswith("-R") for word in words):
        # The port of ssh:// as a forward has a service's name.
        expected, found = ([each for each in lines if "forward " not in each] for lines in (expected, found))
    assert found == expected
