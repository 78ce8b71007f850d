"""config/farhandd.toml documents the configuration: key for key and default for default."""

import re
from pathlib import Path

from farhand_server.config import load
from farhand_server.config.model import Section, ServiceConfig, sections

EXAMPLE = Path(__file__).parents[3] / "server" / "farhand_server" / "config" / "farhandd.toml"

# Keys without a constant default; the file shows an example instead.
SHOWN_BY_EXAMPLE = {
    "edge.account": '"farhand-edge"',
    "login.authorized_keys": '["/etc/farhand/authorized_keys.d/{user}", "~/.config/farhand/authorized_keys"]',
    "web.origin": '"https://farhand.example.net"',
    "web.certificate": '"/etc/farhand/web.pem"',
    "web.key": '"/etc/farhand/web.key"',
    "policy.file": '"/etc/farhand/policy.toml"',
}


def keys(model: type[Section], above: str = "") -> list[str]:
    """Every key of *model*, with its section."""
    inner = sections(model)
    own = [above + name for name in model.model_fields if name not in inner]
    return own + [key for name, kind in inner.items() for key in keys(kind, f"{above}{name}.")]


def documented() -> dict[str, str]:
    """Every commented-out key of the example, with its section, and the value beside it."""
    found: dict[str, str] = {}
    section = ""
    for line in EXAMPLE.read_text().splitlines():
        if heading := re.fullmatch(r"\[(.+)\]", line):
            section = heading[1] + "."
        elif key := re.fullmatch(r"#(\w+) = (.+)", line):
            assert section + key[1] not in found
            found[section + key[1]] = key[2]
    return found


def test_the_example_has_every_key_and_no_other() -> None:
    assert sorted(documented()) == sorted(keys(ServiceConfig))


def test_the_unedited_example_changes_nothing() -> None:
    assert load(EXAMPLE) == load()


def test_the_commented_values_are_the_defaults(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    for key, example in SHOWN_BY_EXAMPLE.items():
        assert documented()[key] == example
        text = text.replace(f"#{key.rpartition('.')[2]} = {example}\n", "")
    file = tmp_path / "farhandd.toml"
    file.write_text(re.sub(r"(?m)^#(?=\w+ = )", "", text))
    assert load(file) == load()


def test_every_key_is_explained() -> None:
    lines = EXAMPLE.read_text().splitlines()
    for number, line in enumerate(lines):
        if re.fullmatch(r"#\w+ = .+", line):
            assert lines[number - 1].startswith("#"), f"{line} has no comment above it"
