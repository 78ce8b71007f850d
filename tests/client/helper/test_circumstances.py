"""What has to be the same for a child to do a front's work."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace

import pytest

from farhand_client.helper.circumstances import Circumstances, character_locale, interpreter_options


def test_a_process_is_in_its_own_circumstances() -> None:
    assert Circumstances.of("self").same(Circumstances.of(os.getpid()))


def test_other_places_limits_or_groups_are_not_the_same() -> None:
    here = Circumstances.of("self")
    assert not here.same(replace(here, limits=here.limits + b"x"))
    assert not here.same(replace(here, places=((0, 0), *here.places[1:])))
    assert not here.same(replace(here, status={**here.status, b"Groups": b"7 "}))
    assert here.same(replace(here, status={**here.status, b"VmPeak": b"1 kB"}))


def test_umask_and_ignored_signals_are_those_of_the_process() -> None:
    script = "trap '' HUP; umask 037; read _"
    with subprocess.Popen(["sh", "-c", script + "; exit 0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        try:
            while not (found := Circumstances.of(process.pid)).ignores(1):
                pass
            while (found := Circumstances.of(process.pid)).umask != 0o037:
                pass
            assert not found.ignores(2)
        finally:
            process.kill()


def test_a_process_that_is_gone_raises() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    with pytest.raises(OSError, match=str(process.pid)):
        Circumstances.of(process.pid)


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, b""),
        ({b"LANG": b"C.UTF-8"}, b"C.UTF-8"),
        ({b"LANG": b"C", b"LC_CTYPE": b"en_US.UTF-8"}, b"en_US.UTF-8"),
        ({b"LC_ALL": b"C", b"LC_CTYPE": b"en_US.UTF-8"}, b"C"),
        ({b"LC_ALL": b"", b"LANG": b"C"}, b"C"),
    ],
)
def test_the_locale_for_characters_is_found_as_by_setlocale(environment: dict[bytes, bytes], name: bytes) -> None:
    assert character_locale(environment) == name


def test_only_what_an_interpreter_reads_counts() -> None:
    common = {b"PYTHONPATH": b"/x", b"TZ": b"UTC", b"LANG": b"C.UTF-8"}
    assert interpreter_options({**common, b"HOME": b"/", b"LC_MESSAGES": b"de_DE"}) == interpreter_options(common)
    assert interpreter_options({**common, b"PYTHONUTF8": b"1"}) != interpreter_options(common)
