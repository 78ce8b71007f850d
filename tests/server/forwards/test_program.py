"""A worker is started with this installation, and without what it does not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import farhand_forwards
import farhand_protocol
import farhand_server
from farhand_server.forwards.program import forward_argv


def test_the_command_finds_the_packages_of_this_installation() -> None:
    argv = [each.decode() for each in forward_argv()]
    assert argv[0] == sys.executable
    for package in (farhand_server, farhand_forwards, farhand_protocol):
        assert str(Path(package.__file__ or "").parents[1]) in argv


def test_a_worker_loads_neither_tls_nor_models() -> None:
    argv = [each.decode() for each in forward_argv()]
    code = argv.index("-c") + 1
    argv[code] = argv[code].replace("main()", "print(*(name for name, loaded in sys.modules.items() if loaded))")
    loaded = subprocess.run(argv, env={}, cwd="/", capture_output=True, text=True, check=True).stdout.split()
    assert "farhand_server.forwards.worker" in loaded
    assert not {"ssl", "_ssl", "_hashlib", "pydantic", "tempfile", "farhand_server.config"} & set(loaded)
