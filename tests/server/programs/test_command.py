"""A program of the service is started with this installation, and nothing around it changes what it does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import farhand_server
from farhand_server.programs.command import own_argv, own_environment


def test_it_finds_the_named_packages_and_no_others(tmp_path: Path) -> None:
    argv = [each.decode() for each in own_argv("json", ("farhand_server", "no_such_package"), "print(sys.path); ")]
    argv[argv.index("-c") + 1] = argv[argv.index("-c") + 1].replace("from json import main; main()", "pass")
    shown = subprocess.run(argv, env={"PYTHONPATH": str(tmp_path)}, cwd=tmp_path, capture_output=True, check=True)
    assert str(Path(farhand_server.__file__ or "").parents[1]) in shown.stdout.decode()
    assert str(tmp_path) not in shown.stdout.decode()


def test_the_environment_names_the_file_of_the_order_and_nothing_of_the_service() -> None:
    assert own_environment(17) == {b"PATH": b"/bin:/usr/bin", b"FARHAND_ORDER": b"17"}
    assert own_argv("x", ())[0].decode() == sys.executable
