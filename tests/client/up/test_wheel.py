"""Wheels are made again of what is installed, and of Farhand however it is installed."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest

from farhand_client.up.wheel import OWN_PACKAGES, WheelError, installed_wheel, own_wheel

ROOT = Path(__file__).parents[3]


def made(directory: Path, files: Mapping[str, str], record: str | None) -> Distribution:
    """Return a distribution that is installed in `directory`."""
    info = directory / "thing-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
    (info / "WHEEL").write_text("Wheel-Version: 1.0\nTag: cp311-abi3-manylinux_2_17_x86_64\n")
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    if record is not None:
        (info / "RECORD").write_text(record)
    return Distribution.at(info)


LISTED = "thing/__init__.py,,\nthing/__pycache__/__init__.pyc,,\nthing-1.0.dist-info/METADATA,,\n"
LISTED += "thing-1.0.dist-info/WHEEL,,\nthing-1.0.dist-info/INSTALLER,,\n../../bin/thing,,\n"


def test_a_wheel_has_the_files_of_the_record_but_for_what_belongs_to_this_machine(tmp_path: Path) -> None:
    wheel = installed_wheel(made(tmp_path, {"thing/__init__.py": "x = 1\n"}, LISTED))
    assert wheel.file_name == "thing-1.0-cp311-abi3-manylinux_2_17_x86_64.whl"
    with zipfile.ZipFile(io.BytesIO(wheel.build())) as built:
        assert built.namelist() == [
            "thing-1.0.dist-info/METADATA",
            "thing-1.0.dist-info/WHEEL",
            "thing/__init__.py",
            "thing-1.0.dist-info/RECORD",
        ]
        assert built.read("thing/__init__.py") == b"x = 1\n"
        assert b"thing/__init__.py,sha256=" in built.read("thing-1.0.dist-info/RECORD")


def test_the_same_files_make_the_same_wheel_and_a_changed_one_another(tmp_path: Path) -> None:
    one = installed_wheel(made(tmp_path / "a", {"thing/__init__.py": "x = 1\n"}, LISTED))
    same = installed_wheel(made(tmp_path / "b", {"thing/__init__.py": "x = 1\n"}, LISTED))
    other = installed_wheel(made(tmp_path / "c", {"thing/__init__.py": "x = 2\n"}, LISTED))
    assert one.build() == same.build()
    assert one.digest() == same.digest() != other.digest()
    assert one.unpacked() == other.unpacked() > 6


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (None, "without a list of its files"),
        (LISTED, "is missing"),
        ("__editable__.thing.pth,,\n", "editable"),
        ("_editable_impl_thing.pth,,\n", "editable"),
    ],
)
def test_what_is_not_whole_here_makes_no_wheel(tmp_path: Path, record: str | None, reason: str) -> None:
    with pytest.raises(WheelError, match=reason):
        installed_wheel(made(tmp_path, {}, record))


def test_our_own_wheel_has_every_package_and_program() -> None:
    wheel = own_wheel(distribution("farhand"), native=False)
    with zipfile.ZipFile(io.BytesIO(wheel.build())) as built:
        names = built.namelist()
        entry_points = next(name for name in names if name.endswith("entry_points.txt"))
        assert b"farhandd" in built.read(entry_points)
    assert wheel.tags == ("py3-none-any",)
    for package in OWN_PACKAGES:
        assert f"{package}/__init__.py" in names
    assert "farhand_server/config/farhandd.toml" in names
    assert not [name for name in names if "__pycache__" in name or name.endswith("/scripts/farhand")]
    assert [name for name in names if name.endswith(".data/scripts/farhand-full")]


def test_our_own_packages_are_those_of_the_project() -> None:
    import tomllib

    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    listed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(Path(each).name for each in listed) == sorted(OWN_PACKAGES)


def test_a_machine_of_the_same_kind_gets_the_front_of_this_installation() -> None:
    native = {file.name: file for file in own_wheel(distribution("farhand"), native=True).files}
    fronts = [file for name, file in native.items() if name.endswith(".data/scripts/farhand")]
    assert all(file.executable and file.content().startswith(b"\x7fELF") for file in fronts)
