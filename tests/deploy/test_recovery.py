"""A core or an edge that dies, hangs or restarts is started again, and the other continues meanwhile."""

import json

from tests.deploy.conftest import Installation
from tests.support.installed_service import ON_SYSTEMD, under_systemd

pytestmark = ON_SYSTEMD


def test_a_run_of_a_local_client_outlives_the_edge(installation: Installation) -> None:
    script = """
retry true
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
retry echo "served again"
[ "$edge" = "$(pid farhand-edge.service)" ] || echo "another edge"
"""
    assert under_systemd(installation.root, script) == ["went on", "code 5", "served again", "another edge"]


def test_a_killed_edge_is_started_again_and_its_clients_continue(
    installation: Installation,
) -> None:
    script = """
retry true
begun --status-json status 127.0.0.1 -- sh -c 'echo up; read -r word <go; echo "$word"; exit 7' 2>/dev/null
core=$(pid farhandd.service) edge=$(pid farhand-edge.service)
systemctl kill --signal=KILL farhand-edge.service
until [ "$edge" != "$(pid farhand-edge.service)" ] && [ 0 != "$(pid farhand-edge.service)" ]; do sleep 0.1; done
echo on >go
cat <&3
wait "$run" || echo "code $?"
cat status
retry echo "served again"
[ "$core" = "$(pid farhandd.service)" ] && echo "the same core"
"""
    reported = under_systemd(installation.root, script, configured="mkfifo go\n")
    status = json.loads(reported.pop(reported.index("code 7") + 1))
    assert reported == ["on", "code 7", "served again", "the same core"]
    assert (status["status"], status["code"], status["stdout"]) == ("exited", 7, 6)


WATCHED = """
mkdir -p /etc/systemd/system/farhandd.service.d
printf '[Service]\\nWatchdogSec=4s\\n' >/etc/systemd/system/farhandd.service.d/watchdog.conf
systemctl daemon-reload
"""


def test_a_core_that_hangs_or_restarts_is_started_again_and_found_by_the_edge(installation: Installation) -> None:
    script = """
retry true
begun 127.0.0.1 -- sh -c "trap '' TERM; echo up; exec sleep 4711" 2>/dev/null
core=$(pid farhandd.service) edge=$(pid farhand-edge.service)
echo -- hangs
since
systemctl kill --kill-whom=main --signal=STOP farhandd.service
logged farhandd.service "Failed with result 'watchdog'"
logged farhandd.service 'farhandd: ready'
wait "$run" || echo "code $?"
pgrep -f 'sleep 4711' || echo "nobody left"
[ "$core" = "$(pid farhandd.service)" ] || echo "another core"
retry echo "served again"
echo -- restarts
core=$(pid farhandd.service)
systemctl restart farhandd.service
[ "$core" = "$(pid farhandd.service)" ] || echo "another core"
retry echo "served again"
[ "$edge" = "$(pid farhand-edge.service)" ] && echo "the same edge"
"""
    assert under_systemd(installation.root, script, configured=WATCHED) == [
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
