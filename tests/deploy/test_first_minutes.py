"""A newcomer who follows the README on two fresh accounts gets there with what it says and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.conftest import DEPLOY, offline
from tests.integration.test_readme import README, pattern, steps
from tests.support.newcomer import Step, follow

ROOT = DEPLOY.parent

ADVICE = {who: f"echo 'export PATH=\"/home/{who}/.local/bin:$PATH\"' >> ~/.bashrc" for who in ("me", "deploy")}
"""What the installer advises each account to type, because its PATH lacks the directory."""


def section(title: str) -> str:
    """Return the text of a section of the README."""
    return README.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def write(path: str, content: str) -> str:
    return f"mkdir -p $(dirname {path}) && cat >{path} <<'END'\n{content}END"


@pytest.fixture
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files that a clone has."""
    folder = tmp_path_factory.mktemp("clone")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, os.fsdecode(listed).split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.mark.long
@pytest.mark.needs("root", "unshare", "ip", "git", "ssh-keygen", "bash")
@pytest.mark.timeout(300)
def test_the_readme_leads_from_nothing_to_the_first_script(clone: Path, wheels: Path) -> None:
    for folder in (clone, wheels):
        folder.chmod(0o755)  # the accounts are not root
    [install] = blocks(section("Install"), "sh")
    [config] = blocks(section("First host"), "toml")
    [script] = blocks(section("Scripts"), "python")
    planned = [(Step(who, f"cp -r {clone} ~/farhand && cd ~/farhand && {install}"), "") for who in ADVICE]
    planned += [(Step(who, advice), "") for who, advice in ADVICE.items()]
    planned += [(Step(who, "rm -rf ~/farhand"), "") for who in ADVICE]  # what is installed needs no clone
    planned.append((Step("me", "ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519"), ""))
    planned.append((Step("me", write("~/.config/farhand/config.toml", config)), ""))
    planned.append((Step("me", write("~/first.py", script)), ""))
    for block in (*blocks(section("First host"), "console"), *blocks(section("Scripts"), "console")):
        for command, printed in steps(block):
            account = "deploy" if f"server$ {command}\n" in block else "me"
            until = "ready on" if command.startswith("farhandd serve") else ""
            planned.append((Step(account, command, until), printed))
    outputs = follow([step for step, _ in planned], visible=[clone, wheels], environ=offline(wheels))
    for advice, output in zip(ADVICE.values(), outputs[: len(ADVICE)], strict=True):
        assert re.findall(r"^    (.*)$", output, re.MULTILINE) == [advice], output
    for (step, printed), output in zip(planned[len(ADVICE) :], outputs[len(ADVICE) :], strict=True):
        shown = re.sub(r"(?m)^time=.*\n", "", output)  # the service's log, which the README leaves out
        assert re.fullmatch(pattern(printed), shown), f"{step.account}$ {step.command}\nprinted: {output}"
