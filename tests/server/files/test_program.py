"""A worker is started with this installation, and nothing around it changes what it does."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import blake3

import farhand_files
import farhand_protocol
import farhand_server
from farhand_server.files.program import worker_argv

SHOW = "import sys, os, json; print(json.dumps([sys.path, list(os.environ), sys.flags.isolated, sys.flags.no_site]))"


def test_the_command_finds_the_packages_of_this_installation_and_no_others(tmp_path: Path) -> None:
    argv = [each.decode() for each in worker_argv()]
    argv[argv.index("-c") + 1] = SHOW.replace("print", "sys.path += sys.argv[1:]; print")
    shown = subprocess.run(argv, env={"PYTHONPATH": str(tmp_path)}, cwd=tmp_path, capture_output=True, check=True)
    path, variables, isolated, no_site = json.loads(shown.stdout)
    assert (isolated, no_site) == (1, 1)
    assert not {str(tmp_path), ""} & set(path)
    for package in (farhand_server, farhand_files, farhand_protocol, blake3):
        assert str(Path(package.__file__ or "").parents[1]) in path
    assert variables


def test_a_worker_can_match_excludes_and_cut_files() -> None:
    program = """if True:
        import sys
        sys.path += sys.argv[1:]
        from farhand_files.delta import available
        from farhand_files.options import TransferOptions
        from farhand_files.selection import Selection
        print(Selection(TransferOptions("get", (b"x",), excludes=("*.o",))).takes(b"a.o", False), available())
    """
    argv = [each.decode() for each in worker_argv()]
    argv[argv.index("-c") + 1] = program
    shown = subprocess.run(argv, env={}, cwd="/", capture_output=True, text=True, check=True)
    assert (shown.stdout, shown.stderr) == ("False True\n", "")
