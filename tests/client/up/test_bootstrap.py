"""The first words find a Python on any machine, whatever the account's shell is, or say what is missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from farhand_client.up.bootstrap import FAR_MODULES, first_words, python_missing, remote_command

HERE = sys.version_info.minor


def say(shell: str, request: bytes, home: Path, python: str | None = None, path: str | None = None) -> bytes:
    """Return what a login shell prints for the first words and a request after them."""
    script, program = first_words("MARK", system=False, python=python, minor=HERE)
    environ = {**os.environ, "HOME": str(home), **({"PATH": path} if path else {})}
    done = subprocess.run(
        [shell, "-c", remote_command(script)],
        input=script + program + request,
        env=environ,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.stdout


@pytest.mark.parametrize(
    "shell", [pytest.param(name, marks=pytest.mark.needs(name)) for name in ("bash", "dash", "zsh", "fish")]
)
def test_every_shell_leads_to_the_far_side(shell: str, tmp_path: Path) -> None:
    printed = say(shutil.which(shell) or shell, b'{"do": "look"}\n', tmp_path, python=sys.executable)
    mark, _, answer = printed.partition(b" ")
    assert mark == b"MARK"
    assert json.loads(answer)["ok"]["python"] == list(sys.version_info[:3])


def test_a_machine_without_python_says_what_it_is(tmp_path: Path) -> None:
    printed = say("/bin/sh", b"", tmp_path, python=str(tmp_path / "python 'x'"))
    mark, _, answer = printed.partition(b" ")
    assert mark == b"MARK"
    assert set(json.loads(answer)) == {"no_python", "newest"}


def test_the_python_of_this_version_comes_first() -> None:
    script, _ = first_words("MARK", system=False, python=None, minor=13)
    assert b"in python3.13 python3.11 python3.12 python3.14 python3 " in script


def test_the_sentence_says_what_to_install_on_that_distribution() -> None:
    sentence = python_missing("fedora:36:Fedora Linux 36", "Python 3.10.4", None)
    assert "the newest Python there is 3.10.4; on Fedora Linux 36: dnf install python3" in sentence
    assert "uv python install" in sentence
    assert "there is no Python there; install Python 3.11 or later (this system)" in python_missing("", "", None)
    assert "/opt/p there is not a Python 3.11" in python_missing("", "", "/opt/p")


def test_every_module_of_the_far_side_is_sent() -> None:
    from farhand_client.up import there

    names = {path.stem for path in Path(next(iter(there.__path__))).glob("*.py")}
    assert names - {"__init__"} == set(FAR_MODULES)
