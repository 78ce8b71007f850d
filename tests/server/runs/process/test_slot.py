"""One descriptor with a single digit is kept for the directories that programs enter themselves."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from farhand_server.runs.process import slot
from tests.support.processes import own_descriptors


@pytest.fixture(autouse=True)
def without_a_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot, "_slot", None)


def test_it_refers_to_the_directory_only_inside_the_block(tmp_path: Path) -> None:
    # In a process of its own, because here others may have taken all digits.
    found = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=True)
    assert found.stdout.split() == [str(tmp_path), "False", "/"]


SCRIPT = """
import os, sys
from farhand_server.runs.process import slot
slot.reserve()
fd = os.open(sys.argv[1], os.O_PATH)
with slot.holding(fd) as number:
    assert number < 10
    print(os.readlink(f"/proc/self/fd/{number}"), os.get_inheritable(number))
print(os.readlink(f"/proc/self/fd/{number}"))
"""


def test_a_free_digit_is_reserved_once_and_given_to_each_in_turn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Descriptors of any size stand in for those below 10, which others may have taken here.
    before = own_descriptors()
    given = os.dup(0)
    os.close(given)
    monkeypatch.setattr(slot, "MAX_DIGIT", given + 100)
    slot.reserve()
    directory = os.open(tmp_path, os.O_PATH)
    numbers = []
    for _ in range(2):
        with slot.holding(directory) as number:
            numbers.append(number)
            assert Path(f"/proc/self/fd/{number}").readlink() == tmp_path
            assert not os.get_inheritable(number)
        assert Path(f"/proc/self/fd/{number}").readlink() == Path("/")
    assert numbers[0] == numbers[1]
    for opened in own_descriptors() - before:
        with contextlib.suppress(OSError):  # the one that listed them is closed already
            os.close(int(opened))


def test_without_a_free_digit_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    given = os.dup(0)
    monkeypatch.setattr(os, "open", lambda *_: os.dup2(given, 200))
    with pytest.raises(OSError, match="no descriptor below 10 is free"), slot.holding(0):
        pass
    os.close(given)
