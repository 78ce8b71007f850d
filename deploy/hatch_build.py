"""Builds `farhand` as it is on PATH: the front in C where there is a compiler, otherwise the one in Python.

A wheel with the front in C is for one machine type. It is linked statically where the C library allows that: then it
starts in a third less time, and runs on any Linux. FARHAND_FRONT=python does without a compiler.
"""

from __future__ import annotations

import os
import platform
import runpy
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HELPER = Path("client/farhand_client/helper")

SCRIPT = """\
#!python
import sys

from {} import main

if __name__ == "__main__":
    sys.exit(main())
"""
"""A script as installers know it: they write their interpreter in the place of the first line. Their own scripts for
entry points import `re`."""

MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
"""Machine types for which wheels have a front in C, with their names in a wheel's tag."""

LINUX = "manylinux_2_17_{0}.manylinux2014_{0}.musllinux_1_1_{0}"
"""What pip calls any Linux of today: a static program needs no particular C library, and only the kernel has to know
pidfds. Where it does not, the front executes the full program."""


class FrontHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling is not there when the project is checked
    """Adds the front to the scripts of a wheel, an editable one included."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it builds."""
        self._folder = tempfile.TemporaryDirectory(prefix="farhand-front-")
        front = Path(self._folder.name, "farhand")
        machine = MACHINES.get(platform.machine().lower()) if sys.platform == "linux" else None
        if machine is None or os.environ.get("FARHAND_FRONT") == "python":
            linked = None
        else:
            compile_front = runpy.run_path(str(Path(self.root, "deploy/compile_front.py")))["compile_front"]
            linked = compile_front(Path(self.root, HELPER, "front.c"), front)
            if linked is None:
                self.app.display_warning("no C compiler: farhand gets its front in Python, which starts in 20 ms more")
        if linked is None:
            front.write_text(SCRIPT.format("farhand_client.helper.front"))
        else:
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{(LINUX if linked == 'static' else 'linux_{0}').format(machine)}"
        full = Path(self._folder.name, "farhand-full")
        full.write_text(SCRIPT.format("farhand_client.cli"))
        for script in (front, full):
            script.chmod(0o755)  # pip keeps the mode of a script in Python
            build_data["shared_scripts"][str(script)] = script.name

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called by hatchling after it has built."""
        self._folder.cleanup()
