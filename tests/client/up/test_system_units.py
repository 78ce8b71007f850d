"""Root's service gets the units of deploy/, for another place and port."""

from __future__ import annotations

from pathlib import Path

import pytest

from farhand_client.errors import FarhandError
from farhand_client.up import system_units as module
from farhand_client.up.system_units import UNIT_FILES, system_units


def test_the_units_lead_to_the_installation() -> None:
    units = system_units(7022, ())
    assert set(units) == set(UNIT_FILES)
    assert "ExecStart=/opt/farhand/current/bin/farhandd serve" in units["farhandd.service"]
    assert not any("/usr/local/" in text for text in units.values())
    assert "\nListenStream=7022\n" in units["farhand-edge.socket"]


def test_the_socket_listens_where_it_was_told_to() -> None:
    socket = system_units(7099, ("192.0.2.1", "2001:db8::1"))["farhand-edge.socket"]
    assert "\nListenStream=192.0.2.1:7099\nListenStream=[2001:db8::1]:7099\n" in socket


def test_an_installation_without_units_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "__file__", str(tmp_path / "a/b/c/d.py"))
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    with pytest.raises(FarhandError, match=r"no farhandd\.service"):
        system_units(7022, ())
