"""The transcripts in README.md show exactly what happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.service import environment, running_service

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"^```console\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
[SCRIPT] = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^(?:server)?\$ (.*)$")


def steps(block: str) -> list[tuple[str, str]]:
    """Split a transcript into commands and their outputs."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines(keepends=True):
        command = COMMAND.match(line)
        if command is not None:
            found.append((command[1], []))
        else:
            found[-1][1].append(line)
    return [(command, "".join(printed)) for command, printed in found]


def pattern(printed: str) -> str:
    """Return the regular expression of an output in which `…` stands for anything within a line."""
    return ".*".join(re.escape(part) for part in printed.split("…"))


@pytest.mark.needs("ssh-keygen")
async def test_every_transcript_is_true(tmp_path: Path) -> None:
    home = tmp_path / "home"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = environment(tmp_path) | {"PATH": path, "HOME": str(home)}
    config = tmp_path / "config/farhand"
    config.mkdir(parents=True)
    key = home / ".ssh/id_ed25519"
    key.parent.mkdir(mode=0o700, parents=True)
    (tmp_path / "srv/www").mkdir(parents=True)
    installed = home / ".local/lib/farhand/bin/python"
    installed.parent.mkdir(parents=True)
    installed.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    installed.chmod(0o755)
    (tmp_path / "first.py").write_text(SCRIPT)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)

    def act(command: str) -> str:
        # The reader has the fingerprint that the service has just printed.
        line = command.replace("SHA256:…", "$(farhandd host-key | tail -n 1)")
        line = line.replace("'ssh-ed25519 AAAA…'", '"$(cat ~/.ssh/id_ed25519.pub)"')
        line = line.replace("/srv/", f"{tmp_path}/srv/")  # not this machine's own
        return subprocess.run(
            ["bash", "-c", f"exec 2>&1; {line}"],
            cwd=tmp_path,
            env=env,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            timeout=100,
        ).stdout

    act("farhandd host-key")
    async with running_service(tmp_path, listen=True) as service:
        assert service.address is not None
        address = f"{service.address[0]}:{service.address[1]}"
        (config / "config.toml").write_text(f'[hosts.web]\naddress = "{address}"\n')
        for block in (*BLOCKS[1:], BLOCKS[0]):  # the first transcript shows the setup of the others
            for command, printed in steps(block):
                if command.startswith("farhandd serve"):
                    continue  # the fixture already runs it
                output = act(command)
                assert re.fullmatch(pattern(printed), output), f"{command}\nprinted: {output}"
