"""The options of `farhandd`."""

from __future__ import annotations

import pytest

from farhand_server import __version__
from tests.server.cli.conftest import CommandLine


@pytest.mark.parametrize(
    "arguments", [(), ("sing",), ("serve", "--sing"), ("authorize",), ("authorize", "--passkey", "key")]
)
def test_wrong_usage_has_exit_code_2(farhandd: CommandLine, arguments: tuple[str, ...]) -> None:
    result = farhandd(*arguments)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("usage: farhandd ")


@pytest.mark.parametrize(
    ("line", "usage", "end"),
    [
        ("srve", "farhandd", "; did you mean serve?"),
        ("start", "farhandd", "; did you mean serve?"),
        ("restart", "farhandd", "; a signal does that, or systemctl: TERM stops the service, HUP reloads it"),
        ("serve --lisen x", "farhandd serve", "unrecognized arguments: --lisen x; did you mean --listen?"),
        ("check --state-dri=x", "farhandd check", "--state-dri=x; did you mean --state-dir?"),
        ("example confg", "farhandd example", "; did you mean config?"),
        ("audit verfy", "farhandd audit", "; did you mean verify?"),
        ("check more", "farhandd check", "unrecognized arguments: more"),
        ("serve --zzz", "farhandd serve", "unrecognized arguments: --zzz"),
    ],
)
def test_a_similar_command_or_option_is_suggested(farhandd: CommandLine, line: str, usage: str, end: str) -> None:
    result = farhandd(*line.split())
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"usage: {usage} ")
    assert result.err.endswith(f"{end}\n")


def test_its_version_is_that_of_the_package(farhandd: CommandLine) -> None:
    assert farhandd("--version").out == f"farhandd {__version__}\n"


@pytest.mark.parametrize(
    "command", ["serve", "upgrade", "edge", "web", "check", "host-key", "example", "authorize", "explain"]
)
def test_every_command_has_help(farhandd: CommandLine, command: str) -> None:
    result = farhandd(command, "--help")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"usage: farhandd {command} ")
