"""Twenty runs stream on while the edge restarts ten times and the core is upgraded three times, under systemd."""

import shlex

import pytest

from tests.deploy.conftest import Installation
from tests.support.installed import ON_SYSTEMD, under_systemd
from tests.support.upgrades import WRITER

pytestmark = ON_SYSTEMD

HURRIED = """
set_key drain '"0.1 s"'
"""

STREAMS = f"""
writer={shlex.quote(WRITER)}
mkdir streams
for number in $(seq 20); do
    farhand run 127.0.0.1 -- /usr/local/lib/farhand/bin/python -c "$writer" /root/streams "$number" \\
        >streams/read-"$number" 2>/dev/null &
    clients[number]=$!
done
until [ "$(ls streams/begun-* 2>/dev/null | wc -l)" = 20 ]; do sleep 0.1; done
core=$(pid farhandd.service)
"""

COUNTED = """
touch streams/enough
for number in $(seq 20); do
    code=0
    wait "${clients[number]}" || code=$?
    [ "$code" = "$number" ] || echo "run $number: code $code"
    read -r _ sha256 <streams/written-"$number"
    [ "$sha256  -" = "$(sha256sum <streams/read-"$number")" ] || echo "run $number: other output"
done
[ "$core" = "$(pid farhandd.service)" ] && echo "the same core"
"""


@pytest.mark.timeout(300)
def test_runs_outlive_restarts_of_the_edge_and_upgrades_of_the_core(installation: Installation) -> None:
    script = f"""
again true
{STREAMS}
edges() {{ for _ in $(seq "$1"); do systemctl restart farhand-edge.service; again true; done; }}
edges 3
farhandd upgrade | sed 's/(pid .*); \\([0-9]*\\) runs.*/\\1 runs/'
edges 3
since
systemctl kill --kill-whom=main --signal=USR2 farhandd.service
said farhandd.service 'msg=upgraded'
edges 2
farhandd upgrade | sed 's/(pid .*); \\([0-9]*\\) runs.*/\\1 runs/'
edges 2
{COUNTED}
systemctl show --property=ActiveState,SubState,StatusText,NRestarts,Result farhandd.service | sort
"""
    version = "farhandd: upgraded to 0.1.0 20 runs"
    assert under_systemd(installation.root, script, configured=HURRIED) == [
        version,
        "msg=upgraded",
        version,
        "the same core",
        "ActiveState=active",
        "NRestarts=0",
        "Result=success",
        "StatusText=serving",
        "SubState=running",
    ]
