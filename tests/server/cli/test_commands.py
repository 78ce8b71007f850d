"""The options of `farhandd`."""

from __future__ import annotations

import pytest

from farhand_server import __version__
from tests.server.cli.conftest import CommandLine


@pytest.mark.parametrize("arguments", [(), ("sing",), ("serve", "--sing"), ("authorize",)])
def test_wrong_usage_has_exit_code_2(farhandd: CommandLine, arguments: tuple[str, ...]) -> None:
    result = farhandd(*arguments)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("usage: farhandd ")


def test_its_version_is_that_of_the_package(farhandd: CommandLine) -> None:
    assert farhandd("--version").out == f"farhandd {__version__}\n"


@pytest.mark.parametrize(
    "command", ["serve", "upgrade", "edge", "check", "host-key", "example", "authorize", "explain"]
)
def test_every_command_has_help(farhandd: CommandLine, command: str) -> None:
    result = farhandd(command, "--help")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"usage: farhandd {command} ")
