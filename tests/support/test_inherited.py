"""The tests start with the same signals, umask, standard files and environment under any parent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.parents import ALL_STATEMENTS, parent
from tests.support.processes import fields, signal_set

REPORT = """
import os, sys
sys.path.insert(0, sys.argv[1])
from tests.support.inherited import reset_inherited_state
reset_inherited_state()
assert os.path.isdir(os.environ["HOME"])
assert sorted(os.listdir("/proc/self/fd"))[:3] == ["0", "1", "2"]
print(os.environ["TERM"], os.environ["LANG"], flush=True)
os.execvp("cat", ["cat", "/proc/self/status"])
"""


def test_the_state_inherited_from_a_careless_parent_is_reset(tmp_path: Path) -> None:
    command = [*parent(ALL_STATEMENTS), sys.executable, "-c", REPORT, str(Path(__file__).parents[2])]
    env = os.environ | {"TMPDIR": str(tmp_path)}  # for the HOME that it makes
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    status = fields(done.stdout)
    # execve(2) keeps the signals that Python ignores.
    assert signal_set(status, "SigIgn") == {13, 25}
    assert signal_set(status, "SigBlk") == set()
    assert status["Umask"] == "0022"
    assert done.stdout.startswith("xterm C.UTF-8\n")
