"""`systemctl stop` ends the service in order: runs get their grace period, and clients receive their outcomes."""

import json
import shlex

from tests.deploy.conftest import Installation
from tests.support.installed_service import ON_SYSTEMD, under_systemd

pytestmark = ON_SYSTEMD

SHORT = """
set_key grace '"500 ms"'
set_key kill_after '"500 ms"'
"""


def test_stopping_gives_runs_their_grace_period_and_delivers_their_outcome(installation: Installation) -> None:
    script = """
retry true
begun --status-json status 127.0.0.1 -- sh -c "trap '' TERM; sleep 4711 & setsid sleep 4712 >&- 2>&- & echo up; wait"
systemctl stop farhandd.service
wait "$run" || echo "code $?"
cat status
systemctl show --property=ActiveState,ControlGroup farhandd.service
systemctl show --property=ActiveState farhand-edge.service
pgrep -f 'sleep 471[12]' || echo "nobody left"
"""
    reported = under_systemd(installation.root, script, configured=SHORT)
    status = json.loads(reported.pop(2))
    assert reported == [
        "farhand: the command was stopped because the service shut down",
        "code 137",
        "ControlGroup=",
        "ActiveState=inactive",
        "ActiveState=active",
        "nobody left",
    ]
    assert (status["status"], status["reason"], status["signal"]) == ("killed", "draining", 9)
    assert status["stdout"] == len("up\n")
    assert 1.0 <= status["duration"] < 10.0, "grace and kill_after, 500 ms each"


# Runs a command and prints whether the service announced its shutdown.
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


def test_the_core_is_stopped_before_the_edge_and_clients_are_notified(installation: Installation) -> None:
    script = f"""
retry true
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
    assert under_systemd(installation.root, script, configured=SHORT) == [
        "told killed draining",
        "the core was gone before the edge began to go",
        *["Result=success", "ActiveState=inactive", ""] * 2,
        *["Result=success", "ActiveState=inactive"],
    ]
