"""The units: what they promise systemd agrees with the service's defaults and with each other."""

import re
import subprocess

import pytest

from farhand_server.cli.serve import RUN_DESCRIPTORS
from farhand_server.config import load
from tests.deploy.conftest import DEPLOY

PROGRAM_UNITS = ["farhandd.service", "farhand-edge.service", "farhand-host-key.service"]


def values(unit: str, key: str) -> list[str]:
    """What the unit file says for *key*, in order."""
    return re.findall(rf"(?m)^{key}=(.*)$", (DEPLOY / unit).read_text())


def seconds(unit: str, key: str) -> int:
    [value] = values(unit, key)
    return int(value.removesuffix("s"))


@pytest.mark.needs("systemd-analyze")
def test_the_edge_is_shut_in() -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=15", f"{DEPLOY}/farhand-edge.service"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_stopping_leaves_time_to_drain() -> None:
    config = load()
    needed = config.drain.grace + config.runs.kill_after
    assert seconds("farhandd.service", "TimeoutStopSec") >= needed + 5


def test_there_are_descriptors_for_all_runs_and_their_connections() -> None:
    [limit] = values("farhandd.service", "LimitNOFILE")
    assert int(limit.partition(":")[0]) >= 2 * RUN_DESCRIPTORS * load().runs.max_runs


def test_the_edge_may_hold_all_its_connections_and_has_time_to_end_them() -> None:
    edge = load().edge
    [limit] = values("farhand-edge.service", "LimitNOFILE")
    assert int(limit) >= 2 * edge.connections + 100
    assert seconds("farhand-edge.service", "TimeoutStopSec") >= edge.drain + 3


def test_only_the_core_is_told_to_end() -> None:
    assert values("farhandd.service", "KillMode") == ["mixed"]


@pytest.mark.parametrize("unit", ["farhandd.service", "farhand-edge.service"])
def test_a_service_is_watched_and_restarted(unit: str) -> None:
    assert values(unit, "Type") == ["notify"]
    assert values(unit, "Restart") == ["on-failure"]
    assert seconds(unit, "WatchdogSec") > 0


def test_the_core_stops_before_the_edge_so_that_clients_hear_of_it() -> None:
    assert "farhandd.service" in values("farhand-edge.service", "Before")


def test_core_edge_and_account_name_the_same_account() -> None:
    [account] = values("farhand-edge.service", "User")
    assert f'#account = "{account}"' in (DEPLOY / "farhandd.toml").read_text()
    assert f"u {account} " in (DEPLOY / "sysusers.conf").read_text()


def test_core_and_edge_meet_at_the_same_socket() -> None:
    [variable] = values("farhand-edge.service", "Environment")
    name, _, value = variable.partition("=")
    core = load(environ={"HOME": "/root"}, uid=0)
    assert load(environ={"HOME": "/", name: value}, uid=999).edge.socket == core.edge.socket
    assert f"d {core.edge.socket.parent} 0755 root root" in (DEPLOY / "tmpfiles.conf").read_text()


def test_the_edge_gets_the_key_that_the_core_made() -> None:
    key = load(environ={"HOME": "/root"}, uid=0).state_dir / "host_key"
    assert values("farhand-edge.service", "LoadCredential") == [f"host_key:{key}"]
    assert values("farhand-host-key.service", "ConditionPathExists") == [f"!{key}"]


@pytest.mark.parametrize("key", ["StateDirectory", "StateDirectoryMode"])
def test_whoever_makes_the_state_directory_makes_it_alike(key: str) -> None:
    assert values("farhandd.service", key) == values("farhand-host-key.service", key)


@pytest.mark.parametrize("unit", PROGRAM_UNITS)
def test_a_program_is_started_with_the_systems_configuration(unit: str) -> None:
    [command] = values(unit, "ExecStart")
    assert re.match(r"/usr/local/bin/farhandd [a-z-]+ --config /etc/farhand/farhandd\.toml", command)
