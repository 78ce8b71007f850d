"""Under systemd, runs continue to stream while the edge restarts and the core is upgraded."""

import shlex

import pytest

from tests.deploy.conftest import Installation
from tests.support.installed_service import ON_SYSTEMD, under_systemd
from tests.support.upgrades import WRITER

pytestmark = ON_SYSTEMD

HURRIED = """
set_key drain '"0.1 s"'
"""

STREAMS = f"""
writer={shlex.quote(WRITER)}
mkdir streams
for number in $(seq "$runs"); do
    farhand run 127.0.0.1 -- /usr/bin/python3 -I -S -c "$writer" /root/streams "$number" \\
        >streams/read-"$number" 2>/dev/null &
    clients[number]=$!
done
until [ "$(ls streams/begun-* 2>/dev/null | wc -l)" = "$runs" ]; do sleep 0.1; done
core=$(pid farhandd.service)
"""

COUNTED = """
touch streams/enough
for number in $(seq "$runs"); do
    code=0
    wait "${clients[number]}" || code=$?
    [ "$code" = "$number" ] || echo "run $number: code $code"
    read -r _ sha256 <streams/written-"$number"
    [ "$sha256  -" = "$(sha256sum <streams/read-"$number")" ] || echo "run $number: other output"
done
[ "$core" = "$(pid farhandd.service)" ] && echo "the same core"
"""


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("runs", "restarts"), [(3, (1, 1, 0, 0)), pytest.param(20, (3, 3, 2, 2), marks=pytest.mark.long)]
)
def test_runs_outlive_restarts_of_the_edge_and_upgrades_of_the_core(
    installation: Installation, runs: int, restarts: tuple[int, int, int, int]
) -> None:
    one, two, three, four = restarts
    by_command = "farhandd upgrade | sed 's/(pid .*); \\([0-9]*\\) runs.*/\\1 runs/'"
    script = f"""
runs={runs}
retry true
{STREAMS}
edges() {{ for _ in $(seq "$1"); do systemctl restart farhand-edge.service; retry true; done; }}
edges {one}
{by_command}
edges {two}
since
systemctl kill --kill-whom=main --signal=USR2 farhandd.service
logged farhandd.service 'msg=upgraded'
edges {three}
{by_command if three else "retry true"}
edges {four}
{COUNTED}
systemctl show --property=ActiveState,SubState,StatusText,NRestarts,Result farhandd.service | sort
"""
    version = f"farhandd: upgraded to 0.1.0 {runs} runs"
    assert under_systemd(installation.root, script, configured=HURRIED, timeout=12 * runs + 120) == [
        version,
        "msg=upgraded",
        *([version] if three else []),
        "the same core",
        "ActiveState=active",
        "NRestarts=0",
        "Result=success",
        "StatusText=serving",
        "SubState=running",
    ]
