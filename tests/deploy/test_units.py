"""The values in the units agree with the service's defaults and with each other."""

import re
import subprocess

import pytest

from farhand_server.admission.shares import RUN_DESCRIPTORS
from farhand_server.config import load
from tests.deploy.conftest import DEPLOY

PROGRAM_UNITS = ["farhandd.service", "farhand-edge.service", "farhand-host-key.service", "farhand-web.service"]
FACING_UNITS = ["farhand-edge.service", "farhand-web.service"]
"""Units whose processes face the network."""


def values(unit: str, key: str) -> list[str]:
    """Return the values of *key* in the unit file, in order."""
    return re.findall(rf"(?m)^{key}=(.*)$", (DEPLOY / unit).read_text())


def seconds(unit: str, key: str) -> int:
    [value] = values(unit, key)
    return int(value.removesuffix("s"))


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("unit", FACING_UNITS)
def test_what_faces_the_network_is_sandboxed(unit: str) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=15", f"{DEPLOY}/{unit}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_the_stop_timeout_leaves_time_to_drain() -> None:
    config = load()
    needed = config.drain.grace + config.runs.kill_after
    assert seconds("farhandd.service", "TimeoutStopSec") >= needed + 5


def test_the_descriptors_suffice_for_all_runs_and_their_connections() -> None:
    [limit] = values("farhandd.service", "LimitNOFILE")
    assert int(limit.partition(":")[0]) >= 2 * RUN_DESCRIPTORS * load().runs.max_runs


@pytest.mark.parametrize("unit", FACING_UNITS)
def test_what_faces_the_network_has_descriptors_for_all_connections_and_time_to_end_them(unit: str) -> None:
    edge = load().edge
    [limit] = values(unit, "LimitNOFILE")
    assert int(limit) >= 2 * edge.connections + 100
    assert seconds(unit, "TimeoutStopSec") >= edge.drain + 3


def test_only_the_core_receives_the_stop_signal() -> None:
    assert values("farhandd.service", "KillMode") == ["mixed"]


@pytest.mark.parametrize("unit", ["farhandd.service", *FACING_UNITS])
def test_the_services_have_a_watchdog_and_are_restarted(unit: str) -> None:
    assert values(unit, "Type") == ["notify"]
    assert values(unit, "Restart") == ["on-failure"]
    assert seconds(unit, "WatchdogSec") > 0


@pytest.mark.parametrize("unit", FACING_UNITS)
def test_the_core_stops_before_what_faces_the_network_so_that_clients_are_notified(unit: str) -> None:
    assert "farhandd.service" in values(unit, "Before")


@pytest.mark.parametrize("unit", FACING_UNITS)
def test_core_edge_and_account_name_the_same_account(unit: str) -> None:
    [account] = values(unit, "User")
    assert f'#account = "{account}"' in (DEPLOY.parent / "server/farhand_server/config/farhandd.toml").read_text()
    assert f"u {account} " in (DEPLOY / "sysusers.conf").read_text()


@pytest.mark.parametrize("unit", FACING_UNITS)
def test_core_and_edge_use_the_same_socket(unit: str) -> None:
    [variable] = values(unit, "Environment")
    name, _, value = variable.partition("=")
    core = load(environ={"HOME": "/root"}, uid=0)
    assert load(environ={"HOME": "/", name: value}, uid=999).edge.socket == core.edge.socket
    assert f"d {core.edge.socket.parent} 0755 root root" in (DEPLOY / "tmpfiles.conf").read_text()


def test_the_edge_uses_the_key_that_the_core_created() -> None:
    key = load(environ={"HOME": "/root"}, uid=0).state_dir / "host_key"
    assert values("farhand-edge.service", "LoadCredential") == [f"host_key:{key}"]
    assert values("farhand-host-key.service", "ConditionPathExists") == [f"!{key}"]


@pytest.mark.parametrize("key", ["StateDirectory", "StateDirectoryMode"])
def test_every_unit_creates_the_state_directory_in_the_same_way(key: str) -> None:
    assert values("farhandd.service", key) == values("farhand-host-key.service", key)


@pytest.mark.parametrize("unit", PROGRAM_UNITS)
def test_a_program_is_started_with_the_systems_configuration(unit: str) -> None:
    [command] = values(unit, "ExecStart")
    assert re.match(r"/usr/local/bin/farhandd [a-z-]+ --config /etc/farhand/farhandd\.toml", command)
