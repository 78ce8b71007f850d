"""`systemctl reload` applies a valid configuration, refuses an invalid one, and replaces no process."""

from tests.deploy.conftest import Installation
from tests.support.installed_service import ON_SYSTEMD, under_systemd

pytestmark = ON_SYSTEMD


def test_a_reload_applies_a_valid_configuration_and_refuses_an_invalid_one(installation: Installation) -> None:
    script = """
status() { systemctl show --property=StatusText,ActiveState farhandd.service; }
reload() { since; systemctl reload "$1"; logged "$1" "$2"; }
asked() { farhand run -e "$1=set" 127.0.0.1 -- printenv "$1" 2>&1 || echo "code $?"; }
retry true
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
reload farhandd.service 'msg="reload refused; the old configuration is kept"'
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
    refused = [
        "farhand: the policy does not let root set the environment variable 'LATER' for this",
        "code 255",
    ]
    assert under_systemd(installation.root, script) == [
        "-- good",
        "msg=reloaded",
        "StatusText=serving",
        "ActiveState=active",
        "set",
        *refused,
        "-- bad",
        'msg="reload refused; the old configuration is kept"',
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
