"""A command that does not exist is answered with what was perhaps meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from farhand_client.cli.commands import COMMANDS, run_command
from farhand_client.cli.unknown import command_meant


@pytest.fixture
def config(home: Path) -> Path:
    file = home / "config/farhand/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("[hosts.web]\naddress = 'web.example'")
    return file


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("pign web", "; did you mean ping?"),
        ("RUN web ls", "; did you mean run?"),
        ("ssh web", "; did you mean shell?"),
        ("exec web ls", "; did you mean run?"),
        ("help", "; did you mean --help?"),
        ("-V", "; did you mean --version?"),
        ("scp a web:b", "; did you mean cp?"),
        ("upload a web:b", "; did you mean put?"),
        ("rsync a web:b", "; did you mean sync?"),
        ("web ls *.py", "; to run a command on that host: farhand run web ls '*.py'"),
        ("web", "; to open a shell on that host: farhand shell web"),
        ("ann@build ls", "; to run a command on that host: farhand run ann@build ls"),
        ("unix:/run/s ls", "; to run a command on that host: farhand run unix:/run/s ls"),
        ("--json ps web", "; options come after the command: farhand ps --json …"),
        ("-x", "; options come after the command"),
        ("zzzz web", ""),
    ],
)
def test_a_command_a_host_or_an_option_may_be_meant(line: str, meant: str) -> None:
    name, *arguments = line.split()
    assert command_meant(name, arguments, COMMANDS) == meant


def test_a_configuration_that_cannot_be_read_does_not_matter(config: Path) -> None:
    config.write_text("broken")
    assert command_meant("web", ["ls"], COMMANDS) == ""


@pytest.mark.usefixtures("home")
def test_all_commands_are_listed_only_if_none_is_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["pign", "web"]) == 2
    assert capsys.readouterr().err == "farhand: unknown command 'pign'; did you mean ping?\n"
    assert run_command(["zzzz", "web"]) == 2
    assert capsys.readouterr().err.startswith("farhand: unknown command 'zzzz'\nusage: farhand COMMAND …\n")
