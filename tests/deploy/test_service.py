"""The installed service under a real systemd: starts, serves runs over TLS, reloads, recovers, and stops in order."""

import json
import shlex
from pathlib import Path

import pytest

from tests.deploy.conftest import DEPLOY, Installation, offline
from tests.support.systemd import require_systemd, run_under_systemd

README = DEPLOY.parent / "server" / "README.md"

pytestmark = [
    pytest.mark.needs(
        "root", "systemd", "systemctl", "journalctl", "unshare", "ip", "dbus-daemon", "ssh-keygen", "pgrep", "bash"
    ),
    pytest.mark.timeout(300),
]


@pytest.fixture(autouse=True, scope="module")
def _systemd() -> None:
    require_systemd()


# `since` marks a moment, `said UNIT PATTERN` waits for a line of the journal after it, which wakes whoever follows it.
# `begun` starts a run in the background and waits for its first line. `again` runs a command as soon as the edge has
# found a core that is new: until then it turns clients away. The home is root's, and empty.
SCRIPT = """#!/bin/bash
set -e
trap '[ $? = 0 ] || journalctl --quiet --no-pager --output=cat' EXIT
export HOME=/root
mount -t tmpfs -o mode=0700 tmpfs /root
cd /root
since() { moment=@$(date +%s.%6N); }
followed() { journalctl --follow --lines=all --output=cat --since="$moment" --unit="$1"; }
said() { timeout 30 grep -m1 -o -e "$2" < <(followed "$1"); }
pid() { systemctl show --property=MainPID --value "$1"; }
set_key() { sed -i "s/^#\\?$1 = .*/$1 = $2/" /etc/farhand/farhandd.toml; }
begun() { mkfifo first; farhand run "$@" >first & run=$!; exec 3<first; read -r line <&3; }
again() { until farhand run 127.0.0.1 -- "$@" 2>/dev/null; do :; done; }
since
"""

# As a package would do it: the files are there, the machine has to hear of them.
UNPACKED = """
cp -a {root}/* /
systemd-sysusers /usr/local/lib/sysusers.d/farhand.conf 2>/dev/null
systemd-tmpfiles --create /usr/local/lib/tmpfiles.d/farhand.conf
systemctl daemon-reload
"""

UNTRUSTED = """
ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519
systemctl enable --quiet --now farhandd.service farhand-edge.socket
farhandd authorize ~/.ssh/id_ed25519.pub >/dev/null
"""

STARTED = f"""
{UNTRUSTED}
farhand trust 127.0.0.1 "$(farhandd host-key | tail -n 1)" >/dev/null
"""


def under_systemd(
    installation: Installation, script: str, *, configured: str = "", started: str = STARTED
) -> list[str]:
    """What *script* prints on a machine with the service running and a key that may log in to root."""
    unpacked = UNPACKED.format(root=shlex.quote(str(installation.root)))
    result = run_under_systemd(SCRIPT + unpacked + configured + started + script, visible=[installation.root])
    assert result.returncode == 0, result.stdout
    return result.stdout.splitlines()


@pytest.mark.needs("systemd-analyze")
def test_what_the_script_installs_serves_and_is_gone_after_uninstalling(wheels: Path) -> None:
    environment = " ".join(f"{name}={shlex.quote(value)}" for name, value in offline(wheels).items())
    install = f"env {environment} {shlex.quote(str(DEPLOY))}/install --prefix /opt/farhand"
    script = f"""
PATH=/opt/farhand/bin:$PATH
{install}
echo -- account and directory
getent passwd farhand-edge | cut -d: -f1,6,7
stat -c '%a %U' /run/farhand
echo -- complaints
systemd-analyze verify farhandd.service farhand-edge.service farhand-edge.socket farhand-host-key.service 2>&1 |
    grep -i farhand || :
{STARTED}
echo -- enabled
systemctl is-enabled farhandd.service farhand-edge.socket
farhand run 127.0.0.1 -- readlink -f /proc/self/../1/comm
{install} --uninstall
echo -- left
systemctl list-unit-files --no-legend 'farhand*' || :
systemctl list-units --all --no-legend 'farhand*' || :
pgrep -f farhandd || :
ls -A /opt/farhand/bin /opt/farhand/lib/systemd/system /etc/farhand /var/lib/farhand
"""
    result = run_under_systemd(SCRIPT + script, visible=[wheels])
    assert result.returncode == 0, result.stdout
    assert (
        """
-- account and directory
farhand-edge:/:/usr/sbin/nologin
755 root
-- complaints
-- enabled
enabled
enabled
/proc/1/comm
"""
        in result.stdout
    )
    assert (
        result.stdout.partition("-- left\n")[2]
        == """/etc/farhand:
farhandd.toml

/opt/farhand/bin:

/opt/farhand/lib/systemd/system:

/var/lib/farhand:
host_key
host_key.pub
"""
    )


def test_the_first_connection_starts_an_edge_and_a_key_of_roots_gets_a_run(installation: Installation) -> None:
    script = """
echo -- before
systemctl show --property=ActiveState,StatusText farhandd.service
systemctl show --property=ActiveState farhand-edge.service
stat -c '%a %U %n' /var/lib/farhand /var/lib/farhand/host_key /run/farhand
echo -- run
farhand trust 127.0.0.1 "$(farhandd host-key | tail -n 1)" >/dev/null
farhand run 127.0.0.1 -- sh -c 'id -un; pwd; grep ^0: /proc/self/cgroup; exit 7' || echo "code $?"
echo -- after
systemctl show --property=ActiveState,StatusText farhand-edge.service
said farhandd.service 'msg=login peer=127.0.0.1:[0-9]* user=root how=key key=SHA256:' | sed 's/:[0-9]* /:PORT /'
"""
    assert under_systemd(installation, script, started=UNTRUSTED) == [
        "-- before",
        "StatusText=serving",
        "ActiveState=active",
        "ActiveState=inactive",
        "700 root /var/lib/farhand",
        "600 root /var/lib/farhand/host_key",
        "755 root /run/farhand",
        "-- run",
        "root",
        "/root",
        "0::/system.slice/farhandd.service",
        "code 7",
        "-- after",
        "StatusText=serving",
        "ActiveState=active",
        "msg=login peer=127.0.0.1:PORT user=root how=key key=SHA256:",
    ]


def test_a_key_is_trusted_by_the_fingerprint_that_the_service_shows(installation: Installation) -> None:
    script = """
key() { sed "s|$fingerprint|FINGERPRINT|g"; }
fingerprint=$(farhandd host-key | tail -n 1)
farhand run 127.0.0.1 -- echo untrusted 2>/dev/null || echo "code $?"
farhand trust 127.0.0.1 SHA256:another 2>&1 | key
farhand run 127.0.0.1 -- echo untrusted 2>/dev/null || echo "code $?"
farhand trust 127.0.0.1 "$fingerprint" | key
farhand run 127.0.0.1 -- echo trusted
"""
    assert under_systemd(installation, script, started=UNTRUSTED) == [
        "code 255",
        "farhand: 127.0.0.1 shows FINGERPRINT, not SHA256:another. Nothing was recorded.",
        "code 255",
        "127.0.0.1 is known by FINGERPRINT (/root/.config/farhand/known_hosts)",
        "trusted",
    ]


@pytest.mark.needs("nsenter")
def test_the_edge_is_shut_in_while_it_serves(installation: Installation) -> None:
    script = """
mkdir -p /home/somebody
again true
edge=$(pid farhand-edge.service)
stat -c %U "/proc/$edge"
grep -E '^(NoNewPrivs|Seccomp|CapBnd|CapEff):' "/proc/$edge/status" | tr '\\t' ' '
[ "$(readlink "/proc/$edge/ns/net")" = "$(readlink /proc/self/ns/net)" ] || echo "no network"
[ "$(readlink "/proc/$edge/ns/user")" = "$(readlink /proc/self/ns/user)" ] || echo "no users"
nsenter --target "$edge" --mount sh -c 'ls -A /home /root; touch /etc/mine' 2>&1 || :
"""
    assert under_systemd(installation, script) == [
        "farhand-edge",
        "CapEff: 0000000000000000",
        "CapBnd: 0000000000000000",
        "NoNewPrivs: 1",
        "Seccomp: 2",
        "no network",
        "no users",
        "/home:",
        "",
        "/root:",
        "touch: cannot touch '/etc/mine': Read-only file system",
    ]


def test_a_reload_takes_a_good_configuration_and_refuses_a_bad_one(installation: Installation) -> None:
    script = """
status() { systemctl show --property=StatusText,ActiveState farhandd.service; }
reload() { since; systemctl reload "$1"; said "$1" "$2"; }
asked() { farhand run -e "$1=set" 127.0.0.1 -- printenv "$1" 2>&1 || echo "code $?"; }
again true
core=$(pid farhandd.service)
echo -- good
set_key environment '["GOOD"]'
reload farhandd.service 'msg=reloaded'
status
asked GOOD
asked LATER
echo -- bad
set_key environment '["LATER"]'
set_key grace '"soon"'
reload farhandd.service 'msg="reload refused; the old configuration stays"'
status
asked GOOD
asked LATER
echo -- mended
set_key grace '"1 s"'
reload farhandd.service 'msg=reloaded'
status
asked LATER
[ "$core" = "$(pid farhandd.service)" ] && echo "the same core"
echo -- edge
edge=$(pid farhand-edge.service)
reload farhand-edge.service 'msg=reloaded process=edge'
asked LATER
[ "$edge" = "$(pid farhand-edge.service)" ] && echo "the same edge"
"""
    refused = ["farhand: the environment variable 'LATER' may not be set by a request here", "code 255"]
    assert under_systemd(installation, script) == [
        "-- good",
        "msg=reloaded",
        "StatusText=serving",
        "ActiveState=active",
        "set",
        *refused,
        "-- bad",
        'msg="reload refused; the old configuration stays"',
        "StatusText=serving; the last reload was refused, see the log",
        "ActiveState=active",
        "set",
        *refused,
        "-- mended",
        "msg=reloaded",
        "StatusText=serving",
        "ActiveState=active",
        "set",
        "the same core",
        "-- edge",
        "msg=reloaded process=edge",
        "set",
        "the same edge",
    ]


DROP_IN = """[Service]
User=deploy
Environment=XDG_STATE_HOME=/var/lib XDG_RUNTIME_DIR=/run
"""

AS_DEPLOY = f"""
useradd --create-home deploy
for unit in farhandd farhand-host-key; do
    mkdir -p /etc/systemd/system/$unit.service.d
    echo {shlex.quote(DROP_IN)} >/etc/systemd/system/$unit.service.d/account.conf
done
systemctl daemon-reload
ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519
systemctl enable --quiet --now farhandd.service farhand-edge.socket
runuser --user deploy -- env HOME=/home/deploy farhandd authorize - <~/.ssh/id_ed25519.pub >/dev/null
farhand trust 127.0.0.1 "$(ssh-keygen -lf /var/lib/farhand/host_key.pub | cut -d ' ' -f 2)" >/dev/null
"""


@pytest.mark.needs("useradd", "runuser")
def test_it_runs_commands_as_another_account_where_the_units_say_so(installation: Installation) -> None:
    assert DROP_IN in README.read_text()
    script = """
farhand run deploy@127.0.0.1 -- sh -c 'id -un; pwd; grep CapEff /proc/self/status' | tr '\\t' ' '
farhand run root@127.0.0.1 -- id -un 2>/dev/null || echo "code $?"
"""
    assert under_systemd(installation, script, started=AS_DEPLOY) == [
        "deploy",
        "/home/deploy",
        "CapEff: 0000000000000000",
        "code 255",
    ]


SHORT = """
set_key grace '"500 ms"'
set_key kill_after '"500 ms"'
"""


def test_stopping_gives_runs_their_grace_and_delivers_their_outcome(installation: Installation) -> None:
    script = """
again true
begun --status-json status 127.0.0.1 -- sh -c "trap '' TERM; sleep 4711 & setsid sleep 4712 >&- 2>&- & echo up; wait"
systemctl stop farhandd.service
wait "$run" || echo "code $?"
cat status
systemctl show --property=ActiveState,ControlGroup farhandd.service
systemctl show --property=ActiveState farhand-edge.service
pgrep -f 'sleep 471[12]' || echo "nobody left"
"""
    told = under_systemd(installation, script, configured=SHORT)
    status = json.loads(told.pop(2))
    assert told == [
        "farhand: the command was stopped because the service shuts down",
        "code 137",
        "ControlGroup=",
        "ActiveState=inactive",
        "ActiveState=active",
        "nobody left",
    ]
    assert (status["status"], status["reason"], status["signal"]) == ("killed", "draining", 9)
    assert status["stdout"] == len("up\n")
    assert 1.0 <= status["duration"] < 10.0, "grace and kill_after, 500 ms each"


# Runs a command and says whether it was told that the service goes away.
LISTENER = """
import asyncio
from farhand_client import connect

async def main():
    async with connect("127.0.0.1") as client, client.start(["sh", "-c", "echo up; exec sleep 4711"]) as run:
        async for line in run.stdout.lines():
            print("up", flush=True)
        result = await run.wait()
        print("told" if client.going_away else "not told", result.outcome.status, result.outcome.reason)

asyncio.run(main())
"""


def test_all_is_stopped_in_order_core_first_and_clients_are_told(installation: Installation) -> None:
    script = f"""
again true
mkfifo output
/usr/local/lib/farhand/bin/python -c {shlex.quote(LISTENER)} >output 2>&1 &
exec 3<output
read -r line <&3
systemctl stop farhandd.service farhand-edge.service farhand-edge.socket
cat <&3
core=$(systemctl show --property=InactiveEnterTimestampMonotonic --value farhandd.service)
edge=$(systemctl show --property=ActiveExitTimestampMonotonic --value farhand-edge.service)
[ "$core" -le "$edge" ] && echo "the core was gone before the edge began to go"
systemctl show --property=Result,ActiveState farhandd.service farhand-edge.service farhand-edge.socket
ls -A /run/farhand
"""
    assert under_systemd(installation, script, configured=SHORT) == [
        "told killed draining",
        "the core was gone before the edge began to go",
        *["Result=success", "ActiveState=inactive", ""] * 2,
        *["Result=success", "ActiveState=inactive"],
    ]


def test_a_run_of_a_local_client_outlives_the_edge(installation: Installation) -> None:
    script = """
again true
edge=$(pid farhand-edge.service)
mkfifo input output
farhand run -i unix:/run/farhand/farhandd.sock -- sh -c 'echo up; read -r line; echo "$line"; exit 5' \\
    <input >output &
run=$!
exec 4>input 3<output
read -r line <&3
systemctl restart farhand-edge.service
echo "went on" >&4
cat <&3
wait "$run" || echo "code $?"
again echo "served again"
[ "$edge" = "$(pid farhand-edge.service)" ] || echo "another edge"
"""
    assert under_systemd(installation, script) == ["went on", "code 5", "served again", "another edge"]


LOST = (
    "farhand: the connection to 127.0.0.1 was ended by the other side; run ID was under way and its end is not known: "
    "the command may have run, to whatever point, so repeat it only if that does no harm"
)


def test_an_edge_that_was_killed_is_started_again_and_its_clients_know_nothing_for_certain(
    installation: Installation,
) -> None:
    script = """
again true
begun --status-json status 127.0.0.1 -- sh -c 'echo up; exec sleep 4711' 2>said
core=$(pid farhandd.service) edge=$(pid farhand-edge.service)
since
systemctl kill --signal=KILL farhand-edge.service
wait "$run" || echo "code $?"
sed 's/run [0-9a-f-]* was/run ID was/' said
cat status
said farhandd.service 'msg="run ended"'
pgrep -f 'sleep 4711' || echo "nobody left"
again echo "served again"
[ "$edge" = "$(pid farhand-edge.service)" ] || echo "another edge"
[ "$core" = "$(pid farhandd.service)" ] && echo "the same core"
"""
    told = under_systemd(installation, script)
    status = json.loads(told.pop(2))
    assert told == [
        "code 255",
        LOST,
        'msg="run ended"',
        "nobody left",
        "served again",
        "another edge",
        "the same core",
    ]
    assert (status["status"], status["error"]["type"], status["may_have_run"]) == ("failed", "ConnectionLost", True)


WATCHED = """
mkdir -p /etc/systemd/system/farhandd.service.d
printf '[Service]\\nWatchdogSec=2s\\n' >/etc/systemd/system/farhandd.service.d/watchdog.conf
systemctl daemon-reload
"""


def test_a_core_that_hangs_or_restarts_comes_back_and_the_edge_finds_it(installation: Installation) -> None:
    script = """
again true
begun 127.0.0.1 -- sh -c "trap '' TERM; echo up; exec sleep 4711" 2>/dev/null
core=$(pid farhandd.service) edge=$(pid farhand-edge.service)
echo -- hangs
since
systemctl kill --kill-whom=main --signal=STOP farhandd.service
said farhandd.service "Failed with result 'watchdog'"
said farhandd.service 'farhandd: ready'
wait "$run" || echo "code $?"
pgrep -f 'sleep 4711' || echo "nobody left"
[ "$core" = "$(pid farhandd.service)" ] || echo "another core"
again echo "served again"
echo -- restarts
core=$(pid farhandd.service)
systemctl restart farhandd.service
[ "$core" = "$(pid farhandd.service)" ] || echo "another core"
again echo "served again"
[ "$edge" = "$(pid farhand-edge.service)" ] && echo "the same edge"
"""
    assert under_systemd(installation, script, configured=WATCHED) == [
        "-- hangs",
        "Failed with result 'watchdog'",
        "farhandd: ready",
        "code 255",
        "nobody left",
        "another core",
        "served again",
        "-- restarts",
        "another core",
        "served again",
        "the same edge",
    ]
