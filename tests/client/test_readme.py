"""The examples and tables of client/README.md are true."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import farhand_client
from farhand_client.cli.commands import COMMANDS
from farhand_client.connection.address import resolve
from tests.support.command import farhand
from tests.support.service import Service

README = (Path(__file__).parents[2] / "client/README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("example", blocks("python"))
async def test_every_example_runs(service: Service, example: str) -> None:
    config = service.directory / "config/farhand/config.toml"
    config.write_text(f'[hosts.web]\naddress = "{service.host}"\n')
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        cwd=service.directory,
        env=service.environment,
        timeout=100,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_configuration_is_valid(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    (tmp_path / "config.toml").write_text(text)
    assert resolve("web", config=tmp_path / "config.toml").host == "web.example.net"
    assert tomllib.loads(text)


async def test_readme_and_help_name_the_same_options() -> None:
    existing: set[str] = set()
    for command in COMMANDS:
        if command not in ("repl", "local"):
            existing |= set(re.findall(r"--[a-z0-9-]+\b", (await farhand(command, "--help")).stdout.decode()))
    assert {option for option in existing - {"--help", "--count"} if option not in README} == set()
    written = set(re.findall(r"`(?:-., |-./)?(--[a-z0-9-]+)", README.partition("## Python API")[0]))
    assert written <= existing


@pytest.mark.needs("bash")
@pytest.mark.timeout(300)
async def test_every_transcript_is_true(service: Service) -> None:
    config = service.directory / "config/farhand/config.toml"
    config.write_text(f'[hosts.web]\naddress = "{service.host}"\n')
    shown = "".join(blocks("console"))
    steps = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", shown, re.MULTILINE)
    mark = "-" * 9
    script = "".join(f"{command}\nprintf '%s\\n' {mark}\n" for command, _ in steps)
    path = f"{Path(sys.executable).parent}:{service.environment['PATH']}"
    done = subprocess.run(
        ["bash", "-c", f"exec 2>&1\n{script}"],
        env={**service.environment, "PATH": path},
        timeout=240,  # a dozen commands, each started for real; a busy machine needs a minute
        capture_output=True,
        text=True,
        check=False,
    )
    *outputs, rest = done.stdout.split(f"{mark}\n")
    assert rest == ""
    for (command, expected), output in zip(steps, outputs, strict=True):
        pattern = re.sub(r"(\\ )+", " +", re.escape(expected)).replace("…", ".*")
        assert re.fullmatch(pattern, output), f"{command}\n{output}"


def test_every_command_and_error_is_documented() -> None:
    assert [name for name in COMMANDS if f"farhand {name} " not in README] == []
    errors = [
        name for name in farhand_client.__all__ if name.endswith(("Error", "Lost", "Timeout", "Unknown", "Refused"))
    ]
    assert [name for name in errors if f"`{name}`" not in README and name not in ("HostKeyError", "Lost")] == []
