"""Where a destination leads is asked of ssh itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from farhand_client.errors import AddressError
from farhand_client.up.ssh import destination, up_words


@pytest.fixture
def ssh(tmp_path: Path) -> str:
    """ssh with a configuration of its own."""
    config = tmp_path / "config"
    config.write_text("Host web\n HostName 10.0.0.9\n User ann\nHost far\n ProxyJump web\n")
    program = tmp_path / "ssh"
    program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {config} "$@"\n')
    program.chmod(0o755)
    return str(program)


def test_an_alias_leads_where_ssh_says(ssh: str) -> None:
    found = destination(ssh, "web")
    assert (found.name, found.host, found.user, found.direct) == ("web", "10.0.0.9", "ann", True)
    assert destination(ssh, "bob@web").user == "bob"


def test_a_machine_behind_another_one_is_not_reached_directly(ssh: str) -> None:
    assert not destination(ssh, "far").direct


def test_a_program_without_g_leads_where_it_is_written(tmp_path: Path) -> None:
    found = destination("/bin/false", "ann@[::1]")
    assert (found.name, found.host, found.user, found.direct) == ("::1", "[::1]", "ann", True)
    assert destination(str(tmp_path / "missing"), "web").host == "web"


@pytest.mark.parametrize("text", ["", "-oProxyCommand=x", "a b", "ssh://web", "unix:/x", "ssh:web", "a\nb"])
def test_what_is_no_destination_is_refused(text: str) -> None:
    with pytest.raises(AddressError, match=r"write \[user@\]HOST"):
        destination("/bin/false", text)


def test_the_command_line_ends_the_options_before_the_host() -> None:
    words = up_words("/usr/bin/ssh", "ann@web", "sh -c true")
    assert words[-3:] == ["--", "ann@web", "sh -c true"]
    assert words[:2] == ["/usr/bin/ssh", "-T"]
