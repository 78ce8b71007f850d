"""What fails on the other machine is one sentence."""

from __future__ import annotations

import pytest

from farhand_client.up.there import trouble
from farhand_client.up.there.trouble import MAX_COMPLAINT, FarSideError, output_of, reported


def test_an_oserror_says_what_was_being_done_and_to_which_file() -> None:
    with pytest.raises(FarSideError, match=r"^cannot read it: /none: No such file or directory$"), reported("read it"):
        open("/none")  # noqa: PTH123, SIM115  # it fails


def test_a_program_returns_what_it_prints() -> None:
    assert output_of(["sh", "-c", "echo $A; pwd"], {"A": "b", "PATH": "/usr/bin:/bin"}) == "b\n/\n"
    assert output_of(["sh", "-c", "echo c; exit 3"], check=False) == "c\n"


def test_a_failing_program_is_quoted_with_the_end_of_its_output() -> None:
    with pytest.raises(FarSideError, match=r"failed with code 3: no luck$"):
        output_of(["sh", "-c", "echo no luck >&2; exit 3"])
    with pytest.raises(FarSideError, match="it printed nothing"):
        output_of(["false"])
    with pytest.raises(FarSideError) as failed:
        output_of(["sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; exit 1"])
    assert len(str(failed.value)) < MAX_COMPLAINT + 200


def test_a_program_that_is_missing_or_hangs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FarSideError, match="cannot run /none: No such file"):
        output_of(["/none"])
    monkeypatch.setattr(trouble, "PROGRAM_TIMEOUT", 0.05)
    with pytest.raises(FarSideError, match=r"has not ended after 0\.05 s"):
        output_of(["sleep", "60"])
