"""Whether ssh's configuration names hosts is found out without loading what reads it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from farhand_client.sshconfig import quick


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", False),
        ("# Host web\n\nHost *\n  SendEnv LANG\n", False),
        ("Include {dir}/none.d/*.conf\nHost *\n", False),
        ("Include {dir}/some.d/*.conf\nHost *\n", True),
        ("Include {dir}/some.d/*.other\n", False),
        ("Include ~/x\n", True),
        ("Host web\n", True),
        ("Host=web\n", True),
        ("  hOSt  * !db\n", True),
        ("Match all\n", True),
        ("#" * quick.MAX_PLAIN_SIZE + "#", True),
    ],
)
def test_only_sections_for_certain_hosts_count(
    text: str, names: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "some.d").mkdir()
    (tmp_path / "some.d" / "a.conf").touch()
    (tmp_path / "config").write_text(text.replace("{dir}", str(tmp_path)))
    monkeypatch.setattr(quick, "SYSTEM_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("FARHAND_SSH_CONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert quick.names_hosts() is names


def test_the_users_file_counts_whatever_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick, "SYSTEM_CONFIG", "/nowhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").touch()
    assert not quick.names_hosts()
    monkeypatch.delenv("FARHAND_SSH_CONFIG")
    assert quick.names_hosts()
    monkeypatch.setenv("FARHAND_SSH_CONFIG", "/some/file")
    assert quick.names_hosts()


def test_nothing_else_is_loaded_for_it() -> None:
    code = "import sys, farhand_client.sshconfig.quick; print(*[each for each in sys.modules if 'sshconfig.' in each])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["farhand_client.sshconfig.quick"]
