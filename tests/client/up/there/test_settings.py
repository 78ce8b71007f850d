"""The configuration of a fresh service is ours until somebody changes it; keys are added once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from farhand_client.up.there.places import FarPlaces
from farhand_client.up.there.record import locked
from farhand_client.up.there.settings import authorize, configure, host_key
from farhand_client.up.there.trouble import FarSideError
from tests.support.far_places import far_places, tree_of

LISTEN = ["0.0.0.0:7022", "[::]:7022"]


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FarPlaces:
    """Places with this installation's farhandd."""
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    found = far_places(tmp_path)
    found.farhandd.parent.mkdir(parents=True)
    found.farhandd.symlink_to(Path(sys.prefix, "bin/farhandd"))
    return found


def test_a_fresh_configuration_applies_whatever_the_environment_is(places: FarPlaces, tmp_path: Path) -> None:
    with locked(places) as record:
        settings = configure(places, record, LISTEN, by_systemd=False)
        assert settings.listen == LISTEN
        assert settings.changed
        assert settings.ours
        assert settings.key_file == tmp_path / ".config/farhand/authorized_keys"
        assert settings.socket == places.state / "farhandd.sock"
        assert not configure(places, record, LISTEN, by_systemd=False).changed
        again = configure(places, record, [], by_systemd=False)
        assert (again.changed, again.listen) == (True, [])


def test_a_configuration_of_somebody_else_stays_and_applies(places: FarPlaces, tmp_path: Path) -> None:
    places.config.mkdir(parents=True)
    text = f'listen = ["127.0.0.1:1234"]\n[login]\nauthorized_keys = ["{tmp_path}/keys/{{user}}"]\n'
    places.config_file.write_text(text)
    with locked(places) as record:
        settings = configure(places, record, LISTEN, by_systemd=False)
        assert (settings.ours, settings.listen) == (False, ["127.0.0.1:1234"])
        assert settings.key_file == tmp_path / "keys" / places.user
        places.config_file.write_text("[login]\nauthorized_keys = []\n")
        with pytest.raises(FarSideError, match="names no file"):
            configure(places, record, LISTEN, by_systemd=False)
    assert places.config_file.exists()


def test_ours_changed_by_hand_is_ours_no_longer(places: FarPlaces) -> None:
    with locked(places) as record:
        configure(places, record, LISTEN, by_systemd=False)
        with places.config_file.open("a") as file:
            file.write("\n# mine\n")
        assert not configure(places, record, [], by_systemd=False).ours
        assert "# mine" in places.config_file.read_text()


def test_a_mistake_in_it_is_quoted(places: FarPlaces) -> None:
    places.config.mkdir(parents=True)
    places.config_file.write_text("nonsense = 1\n")
    with locked(places) as record, pytest.raises(FarSideError, match="nonsense"):
        configure(places, record, LISTEN, by_systemd=False)


def test_a_key_is_added_once_and_after_what_is_there(places: FarPlaces, tmp_path: Path) -> None:
    file = tmp_path / "d/authorized_keys"
    file.parent.mkdir()
    file.write_text("restrict ssh-ed25519 AAAA1 old")
    with locked(places) as record:
        lines = ["ssh-ed25519 AAAA1 me", "ssh-ed25519 AAAA2 me"]
        assert authorize(file, record, lines) == [lines[1]]
        assert authorize(file, record, lines) == []
        assert file.read_text() == f"restrict ssh-ed25519 AAAA1 old\n{lines[1]}\n"
        new = tmp_path / "new/authorized_keys"
        assert authorize(new, record, lines) == lines
        assert new.stat().st_mode & 0o777 == 0o600
        record.take_back()
    assert file.read_text() == "restrict ssh-ed25519 AAAA1 old\n"
    assert not new.parent.exists()


def test_the_host_key_is_made_once_and_goes_with_the_rest(places: FarPlaces, tmp_path: Path) -> None:
    with locked(places) as record:
        configure(places, record, LISTEN, by_systemd=False)
        line = host_key(places, record)
        assert line.startswith("ssh-ed25519 AAAA")
        assert host_key(places, record) == line
        record.take_back()
    assert not [each for each in tree_of(tmp_path) if "state" in each or "config" in each]


def test_root_s_service_is_configured_for_systemd_or_without(tmp_path: Path) -> None:
    from farhand_client.up.there import settings

    places = FarPlaces.of(system=True, environ={})
    by_systemd = settings.config_text(places, LISTEN, by_systemd=True)
    assert 'account = "farhand-edge"' in by_systemd
    assert "listen" not in by_systemd.partition("key.\n")[2]
    alone = settings.config_text(places, LISTEN, by_systemd=False)
    assert 'listen = ["0.0.0.0:7022", "[::]:7022"]' in alone
    assert 'socket = "/run/farhand/farhandd.sock"' in alone
