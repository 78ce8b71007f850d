"""Everything that server/README.md names exists: keys, units, options, causes, events of the log, links."""

import re
from pathlib import Path

import pytest

from farhand_server.auth.authorized_keys import SUPPORTED_OPTIONS
from farhand_server.auth.login import RefusalCause
from farhand_server.config.model import ServiceConfig, sections
from tests.deploy.conftest import DEPLOY
from tests.server.config.test_example import keys

README = Path(__file__).parents[2] / "server" / "README.md"
TEXT = README.read_text()
CODE = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", TEXT)

FILE_NAMES = {"sock", "db", "head"}
"""What follows the dot in files that are called like a section: `edge.sock`, `history.db`, `audit.head`."""

SOURCES = "\n".join(file.read_text() for file in README.parent.rglob("*.py"))


def test_the_keys_it_names_exist() -> None:
    pattern = re.compile(rf"({'|'.join(sections(ServiceConfig))})\.([a-z_]+)")
    named = {found[0] for code in CODE if (found := pattern.match(code)) and found[2] not in FILE_NAMES}
    assert len(named) > 20
    assert named <= set(keys(ServiceConfig))


def test_the_units_it_names_are_installed() -> None:
    named = set(re.findall(r"farhand[a-z-]*\.(?:service|socket)", TEXT))
    assert named == {file.name for file in DEPLOY.glob("farhand*.s*")}


def test_its_options_of_authorized_keys_are_those_supported() -> None:
    table = TEXT[TEXT.index("| option | meaning |") : TEXT.index("**Any other option")]
    rows = re.findall(r"(?m)^\| (`.*?`) \|", table)
    assert sorted(re.findall(r"`([a-z0-9-]+)", " ".join(rows))) == sorted(SUPPORTED_OPTIONS)


def test_the_causes_of_a_refusal_that_it_names_are_logged() -> None:
    named = set(re.findall(r"cause=([a-z_]+)", TEXT))
    assert named
    assert named <= {cause.value for cause in RefusalCause}


def test_the_events_it_names_are_logged() -> None:
    table = TEXT[TEXT.index("| `msg` | of |") : TEXT.index("Never logged")]
    events = re.findall(r"`([^`]+)`", " ".join(re.findall(r"(?m)^\| (`.*?`) \| (?:core|edge)", table)))
    assert len(events) > 10
    for event in events:
        assert f'"{event}"' in SOURCES, event


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", TEXT))
def test_each_link_has_a_target(target: str) -> None:
    assert (README.parent / target).exists()


@pytest.mark.parametrize("anchor", re.findall(r"\]\(#([^)]+)\)", TEXT))
def test_each_anchor_is_a_heading(anchor: str) -> None:
    headings = [
        re.sub(r"[^a-z0-9 -]", "", line.lower()).replace(" ", "-") for line in re.findall(r"(?m)^##+ (.+)", TEXT)
    ]
    assert anchor in headings
