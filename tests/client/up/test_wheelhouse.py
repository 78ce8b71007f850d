"""What another machine needs is taken from here where it fits, and fetched where it does not."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import distribution
from pathlib import Path

import pytest

from farhand_client.up import wheelhouse as module
from farhand_client.up.fitting import FarPlatform
from farhand_client.up.wheel import WheelError
from farhand_client.up.wheelhouse import downloaded, needed_distributions, wheelhouse

HERE = FarPlatform("x86_64", "glibc", (2, 99), sys.version_info.minor)


def test_everything_that_farhand_requires_is_needed_and_what_that_requires() -> None:
    names = {each.metadata["Name"].lower().replace("_", "-") for each in needed_distributions(distribution("farhand"))}
    assert {"pydantic", "pydantic-core", "uvloop", "cryptography", "cffi", "typing-extensions"} <= names
    assert not {"pytest", "mypy", "hypothesis", "farhand"} & names


def test_a_wheelhouse_for_a_machine_like_this_one_needs_no_network() -> None:
    house = wheelhouse(HERE)
    assert house.missing == ()
    assert re.fullmatch(r"[0-9.]+-[0-9a-f]{12}", house.name)
    assert house.name == wheelhouse(HERE).name
    assert house.unpacked() > 10 << 20


def test_another_python_or_machine_lacks_what_is_compiled_and_is_another_installation() -> None:
    other = wheelhouse(FarPlatform("aarch64", "musl", (1, 2), sys.version_info.minor))
    assert {each.partition("==")[0].lower().replace("_", "-") for each in other.missing} >= {"uvloop", "pydantic-core"}
    assert "pyfastcdc" not in " ".join(other.missing)  # is used where it is, and not required
    assert other.wheels[0].name == "farhand"
    assert other.name != wheelhouse(HERE).name


def fake_pip(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = directory / "pip"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(module, "_pip", lambda: [str(program)])


def test_what_is_missing_is_fetched_by_pip_for_that_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pip(
        tmp_path,
        f'echo "$@" >{tmp_path}/words\nwhile [ "$1" != --dest ]; do shift; done\necho x >"$2/a.whl"',
        monkeypatch,
    )
    said: list[str] = []
    assert downloaded(("uvloop==1",), HERE, said.append) == [("a.whl", b"x\n")]
    words = (tmp_path / "words").read_text().split()
    assert words[0] == "download"
    assert {"--no-deps", "--only-binary=:all:", "uvloop==1"} <= set(words)
    assert said == [f"fetching uvloop==1 for Python 3.{HERE.minor} on x86_64 with glibc"]


def test_a_failing_pip_is_quoted_and_none_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pip(tmp_path, "echo no such release >&2; exit 1", monkeypatch)
    monkeypatch.setattr("platform.machine", lambda: HERE.machine)
    with pytest.raises(WheelError, match=r"could not fetch uvloop==1.*--python.*no such release"):
        downloaded(("uvloop==1",), replace(HERE, minor=HERE.minor + 1), lambda text: None)
    # Another Python is no way out for another kind of machine.
    with pytest.raises(
        WheelError, match=r"on aarch64 with glibc, and pip could not fetch uvloop==1 for it\. pip said: "
    ):
        downloaded(("uvloop==1",), replace(HERE, machine="aarch64"), lambda text: None)
    monkeypatch.setattr(module, "_pip", lambda: None)
    with pytest.raises(WheelError, match="no pip here"):
        downloaded(("uvloop==1",), HERE, lambda text: None)


def test_a_pip_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*words: object, **options: object) -> None:
        raise subprocess.TimeoutExpired("pip", 1)

    monkeypatch.setattr(module, "_pip", lambda: ["pip"])
    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(WheelError, match="timed out"):
        downloaded(("uvloop==1",), HERE, lambda text: None)
