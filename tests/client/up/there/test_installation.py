"""An installation is whole or not there, and needs neither pip nor venv nor a network."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from farhand_client.up.there import installation
from farhand_client.up.there.installation import (
    AnnouncedBytes,
    ArrivingWheel,
    current_name,
    forget_old,
    install,
    installations,
    switch,
)
from farhand_client.up.there.places import FarPlaces
from farhand_client.up.there.record import Record, locked
from farhand_client.up.there.trouble import FarSideError
from tests.support.far_places import far_places, tree_of

SAYS = "def main():\n    print('hello from', __name__)\n"


def wheel(files: Mapping[str, str | bytes], executable: str = "") -> bytes:
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as made:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o100755 if name == executable else 0o100644) << 16
            made.writestr(info, data)
    return output.getvalue()


WHOLE = {
    "farhand_server/__init__.py": SAYS,
    "farhand_client/__init__.py": "",
    "farhand_client/helper/__init__.py": "",
    "farhand_client/helper/front.py": SAYS,
    "farhand-1.dist-info/entry_points.txt": "[console_scripts]\nfarhandd = farhand_server:main\nother = other:main\n",
    "farhand-1.data/scripts/farhand-full": "#!python\nprint('full')\n",
    "farhand-1.data/purelib/extra.py": "",
    "farhand-1.data/data/share/man/x.1": "",
}


@pytest.fixture(autouse=True)
def _loads_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "LOADED", ("farhand_server",))


def installed(places: FarPlaces, record: Record, name: str, *wheels: bytes, wrong: bytes = b"") -> None:
    announced = [
        ArrivingWheel(f"{at}.whl", len(data), hashlib.sha256(data + wrong).hexdigest())
        for at, data in enumerate(wheels)
    ]
    source = AnnouncedBytes(io.BytesIO(b"".join(wheels)), sum(map(len, wheels)))
    install(places, record, name, announced, source, 1000)


def test_the_programs_run_from_wherever_current_leads(tmp_path: Path) -> None:
    places = far_places(tmp_path)
    with locked(places) as record:
        installed(places, record, "1.0", wheel(WHOLE))
        switch(places, record, "1.0")
        assert (installations(places), current_name(places)) == (["1.0"], "1.0")
        said = subprocess.run([places.farhandd], capture_output=True, check=True, text=True).stdout
        assert said == "hello from farhand_server\n"
        programs = places.current / "bin"
        assert subprocess.run([programs / "farhand"], capture_output=True, check=True).stdout.startswith(b"hello")
        assert subprocess.run([programs / "farhand-full"], capture_output=True, check=True).stdout == b"full\n"
        assert sorted(each.name for each in programs.iterdir()) == [
            "farhand", "farhand-full", "farhandd", "python", "python3",
        ]  # fmt: skip
        assert not list(places.base.glob("**/share"))
        assert list(places.base.glob("**/site-packages/extra.py"))


def test_a_front_for_this_machine_is_kept_and_one_that_cannot_run_replaced(tmp_path: Path) -> None:
    places = far_places(tmp_path)
    script = "farhand-1.data/scripts/farhand"
    true = Path(shutil.which("true") or "/bin/true").read_bytes()
    with locked(places) as record:
        installed(places, record, "1", wheel(WHOLE | {script: true}))
        installed(places, record, "2", wheel(WHOLE | {script: b"\x7fELF for another machine"}))
    assert (places.base / "1/bin/farhand").read_bytes() == true
    assert (places.base / "2/bin/farhand").read_text().startswith(f"#!{places.current}/bin/python\n")


@pytest.mark.parametrize(
    ("files", "cut", "wrong", "reason"),
    [
        (WHOLE, 10, b"", "the connection ended"),
        (WHOLE, 0, b"x", "another digest"),
        (WHOLE | {"../evil": ""}, 0, b"", "outside of itself"),
        (WHOLE | {"farhand_server/__init__.py": "import does_not_exist"}, 0, b"", "does_not_exist"),
    ],
)
def test_a_failure_leaves_nothing(
    tmp_path: Path, files: Mapping[str, str], cut: int, wrong: bytes, reason: str
) -> None:
    places = far_places(tmp_path)
    data = wheel(files)
    announced = [ArrivingWheel("a.whl", len(data), hashlib.sha256(data + wrong).hexdigest())]
    source = AnnouncedBytes(io.BytesIO(data[: len(data) - cut]), len(data))
    with locked(places) as record:
        before = tree_of(tmp_path)
        with pytest.raises(FarSideError, match=reason):
            install(places, record, "1.0", announced, source, 1000)
        assert tree_of(tmp_path) == before


def test_a_full_disk_is_known_before_anything_is_sent(tmp_path: Path) -> None:
    places = far_places(tmp_path)
    with locked(places) as record, pytest.raises(FarSideError, match=r"MiB free, and the installation needs \d+ MiB"):
        install(places, record, "1.0", [], AnnouncedBytes(io.BytesIO(), 0), 1 << 60)


def test_what_an_interrupted_one_has_left_is_removed(tmp_path: Path) -> None:
    places = far_places(tmp_path)
    with locked(places) as record:
        (places.base / ".0.9.new/lib").mkdir(parents=True)
        installed(places, record, "1.0", wheel(WHOLE))
    assert not (places.base / ".0.9.new").exists()
    assert installations(places) == ["1.0"]


def test_the_last_two_installations_stay(tmp_path: Path) -> None:
    places = far_places(tmp_path)
    with locked(places) as record:
        for at, name in enumerate(("1", "2", "3")):
            installed(places, record, name, wheel(WHOLE))
            os.utime(places.base / name, (at, at))
        switch(places, record, "3")
        assert forget_old(places, record) == ["1"]
        assert installations(places) == ["3", "2"]
        record.take_back()
    assert tree_of(tmp_path) == []


def test_current_of_somebody_else_stays(tmp_path: Path) -> None:
    places = far_places(tmp_path)
    with locked(places) as record:
        places.current.mkdir()
        with pytest.raises(FarSideError, match="not from farhand up"):
            switch(places, record, "1")
    assert current_name(places) is None


def test_bytes_that_nobody_wanted_are_read_away() -> None:
    stream = io.BytesIO(b"abcdefnext")
    with AnnouncedBytes(stream, 6) as source:
        assert source.read(2) == b"ab"
    assert stream.read() == b"next"


def test_what_a_service_loads_can_be_loaded() -> None:
    import importlib
    import re

    text = Path(installation.__file__ or "").read_text()
    names = re.findall(r'^    "([\w.]+)",$', text.partition("LOADED")[2].partition(")")[0], re.MULTILINE)
    assert "farhand_server.cli.core" in names
    for name in names:
        importlib.import_module(name)
