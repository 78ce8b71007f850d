"""The harness bounds and reports campaigns, fails for wrong results alone, and replaces only what was measured anew."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.campaigns import __main__ as command
from tests.campaigns import campaigns, report
from tests.campaigns.harness import Campaign, Figure, Setting, at_least, at_most, none_of, quantile

RIGHT = none_of("lost bytes", 0, 5)
WRONG = none_of("lost bytes", 1, 5, note="the first")
SLOW = at_most("time", 2000.0, 1.0, "ms")


def campaign(name: str, *figures: Figure) -> Campaign:
    async def measure(setting: Setting) -> Sequence[Figure]:
        return figures

    return Campaign(name, f"What {name} does.", measure, short=20, nightly=40)


def test_only_a_wrong_result_fails() -> None:
    assert (RIGHT.fails, WRONG.fails, SLOW.fails) == (False, True, False)
    assert (RIGHT.met, WRONG.met, SLOW.met) == (True, False, False)
    assert none_of("lost bytes", 0, 0).fails, "nothing was tried"
    assert WRONG.value == "1 of 5: the first"
    assert (at_least("speed", 5, 5, "MiB/s").met, at_least("speed", 4, 5, "MiB/s").met) == (True, False)


@pytest.mark.parametrize("nightly", [False, True])
def test_a_campaign_gets_its_form_its_seed_and_a_directory_that_is_removed(nightly: bool) -> None:
    seen: list[Path] = []

    async def measure(setting: Setting) -> Sequence[Figure]:
        (setting.subdirectory("a") / "file").touch()
        seen.append(setting.directory)
        assert setting.chance.random() == setting.chance.random()
        return [Figure("size", str(setting.size(1, 2))), Figure("seed", str(setting.seed))]

    figures = Campaign("x", "", measure, short=20, nightly=20).run(nightly=nightly, seed=7)
    assert [each.value for each in figures] == ["2" if nightly else "1", "7"]
    assert not seen[0].exists()


def test_a_campaign_that_does_not_end_is_cancelled_and_fails() -> None:
    cleaned: list[bool] = []

    async def measure(setting: Setting) -> Sequence[Figure]:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)
        return []

    [figure] = Campaign("x", "", measure, short=0.01, nightly=0.01).run(nightly=False, seed=1)
    assert figure.fails
    assert "not done after 0.01 s" in figure.value
    assert cleaned == [True]


def test_a_campaign_that_breaks_fails_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    async def measure(setting: Setting) -> Sequence[Figure]:
        (setting.directory / "log").write_text("the service's log\n")
        raise RuntimeError("no service")

    [figure] = Campaign("x", "", measure, short=20, nightly=20).run(nightly=False, seed=1)
    assert figure.fails
    assert figure.value == "no: RuntimeError: no service"
    assert "the service's log" in capsys.readouterr().out


def test_the_command_fails_if_a_result_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(campaigns, "ALL", (campaign("good", RIGHT, SLOW), campaign("bad", WRONG)))
    assert command.main(["good", "--seed", "1"]) == 0
    assert command.main(["--seed", "1"]) == 1
    assert "WRONG: bad: lost bytes: 1 of 5: the first" in capsys.readouterr().out
    assert command.main(["other"]) == 2
    assert "no campaign is called other; there are good, bad" in capsys.readouterr().err


def test_written_results_replace_those_of_the_same_campaign_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = tmp_path / "README.md"
    page.write_text("# Campaigns\n\nText.\n\n## Results\n")
    monkeypatch.setattr(command, "PAGE", page)
    monkeypatch.setattr(campaigns, "ALL", (campaign("one", RIGHT), campaign("two", SLOW)))
    assert command.main(["two", "--write"]) == 0
    assert command.main(["one", "--nightly", "--write"]) == 0
    text = page.read_text()
    assert text.startswith("# Campaigns\n\nText.\n\n## Results\n\n### one\n\nWhat one does. Nightly form, ")
    assert re.findall(r"^### (\w+)$", text, re.MULTILINE) == ["one", "two"]
    assert "Short form, " in text.partition("### two")[2]
    before = page.read_text()
    assert command.main(["one", "--nightly", "--write"]) == 0
    assert page.read_text() == before


def test_a_table_shows_which_targets_were_reached() -> None:
    lines = report.table([RIGHT, WRONG, SLOW, Figure("a|b", "1", beside="2")]).splitlines()
    assert lines[2:] == [
        "| lost bytes | 0 of 5 | 0 | yes |  |",
        "| lost bytes | 1 of 5: the first | 0 | **NO** |  |",
        "| time | 2e+03 ms | ≤ 1 ms | **no** |  |",
        "| a\\|b | 1 |  |  | 2 |",
    ]


def test_a_quantile_is_one_of_the_values() -> None:
    assert [quantile([3.0, 1.0, 2.0], share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 2.0, 3.0, 3.0]


def test_every_campaign_has_a_name_of_its_own_and_is_listed() -> None:
    modules = {
        path.stem for path in Path(campaigns.__file__).parent.glob("*.py") if "\nCAMPAIGN = " in path.read_text()
    }
    names = [each.name for each in campaigns.ALL]
    assert len(set(names)) == len(names) == len(modules)
