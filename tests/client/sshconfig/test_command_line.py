"""ssh's command line is read as OpenSSH reads it."""

from __future__ import annotations

from typing import Any

import pytest

from farhand_client.sshconfig.command_line import UsageError, parse_command_line
from farhand_client.sshconfig.line import SshConfigError


@pytest.mark.parametrize(
    ("words", "host", "command", "values"),
    [
        (["web"], "web", "", {}),
        (["web", "uname", "-a"], "web", "uname -a", {}),
        (["ann@web", "echo", "a  b"], "web", "echo a  b", {"user": "ann"}),
        (["-p", "2222", "-l", "bob", "ann@web"], "web", "", {"port": 2222, "user": "bob"}),
        (["-p2222", "web"], "web", "", {"port": 2222}),
        (["-Tnp", "2222", "web", "-q", "ls", "-l"], "web", "ls -l", {"port": 2222, "loglevel": "QUIET"}),
        (["web", "--", "-x", "y"], "web", "-x y", {}),
        (["--", "web", "-x", "y"], "web", "-x y", {}),
        (["ssh://ann@web:2222/"], "web", "", {"port": 2222, "user": "ann"}),
        (["-oPort=2222", "-o", "User ann", "web"], "web", "", {"port": 2222, "user": "ann"}),
        (["-p", "1", "-o", "Port=2", "web"], "web", "", {"port": 1}),
        (["-tt", "web"], "web", "", {"requesttty": "force"}),
        (["-t", "web", "-T"], "web", "", {"requesttty": "no"}),
        (["-s", "web", "sftp"], "web", "sftp", {"sessiontype": "subsystem"}),
        (["-x", "-a", "-oClearAllForwardings=yes", "ann@web", "-s", "sftp"], "web", "sftp", {"user": "ann"}),
        (["-6", "::1", "id"], "::1", "id", {"addressfamily": "inet6"}),
        (["a@b@web"], "web", "", {"user": "a@b"}),
    ],
)
def test_words_mean_what_they_mean_to_ssh(words: list[str], host: str, command: str, values: dict[str, Any]) -> None:
    line = parse_command_line(words)
    assert (line.host, line.command) == (host, command)
    assert values.items() <= line.settings.values.items()


@pytest.mark.parametrize("words", [[], ["-p"], ["-Z", "web"], ["@web"], ["-s", "web"], ["ann@"]])
def test_where_ssh_shows_its_usage_this_does_too(words: list[str]) -> None:
    with pytest.raises(UsageError):
        parse_command_line(words)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["-p", "0", "web"], "Bad port '0'"),
        (["-oNonsense=1", "web"], "command-line: line 0: Bad configuration option: nonsense"),
        (["-oPort=x", "web"], "command-line line 0: Bad port 'x'."),
        (["-1", "web"], "SSH protocol v.1 is no longer supported"),
        (["-L", "x", "web"], "Bad local forwarding specification 'x'"),
        (["-e", "abc", "web"], "Bad escape character 'abc'."),
        (["-l", "-x", "web"], "remote username contains invalid characters"),
        (["--", "-oProxyCommand=x"], "hostname contains invalid characters"),
        (["-N", "-s", "web", "x"], "Cannot specify -s with -N/SessionType"),
        (["-y", "-E", "x", "web"], "Can't specify both -y and -E"),
    ],
)
def test_mistakes_are_told_in_the_words_of_ssh(words: list[str], sentence: str) -> None:
    with pytest.raises(SshConfigError) as caught:
        parse_command_line(words)
    assert str(caught.value) == sentence
