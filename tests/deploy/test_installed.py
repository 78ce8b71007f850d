"""On a machine with a real systemd, deploy/install installs a working service, and --uninstall removes it."""

import shlex
from pathlib import Path

import pytest

from tests.deploy.conftest import DEPLOY, offline
from tests.support.installed_service import ON_SYSTEMD, SCRIPT, STARTED
from tests.support.systemd import run_under_systemd

pytestmark = ON_SYSTEMD


@pytest.mark.long
@pytest.mark.needs("systemd-analyze")
def test_an_installed_service_works_and_is_removed_by_uninstalling(wheels: Path) -> None:
    environment = " ".join(f"{name}={shlex.quote(value)}" for name, value in offline(wheels).items())
    install = f"env {environment} {shlex.quote(str(DEPLOY))}/install --prefix /opt/farhand"
    script = f"""
PATH=/opt/farhand/bin:$PATH
{install}
echo -- account and directory
getent passwd farhand-edge | cut -d: -f1,6,7
stat -c '%a %U' /run/farhand
echo -- complaints
systemd-analyze verify farhandd.service farhand-edge.service farhand-edge.socket farhand-host-key.service \\
    farhand-web.service farhand-web.socket 2>&1 |
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
authorized_keys.d
farhandd.toml

/opt/farhand/bin:

/opt/farhand/lib/systemd/system:

/var/lib/farhand:
audit.head
audit.jsonl
history.db
history.lock
host_key
host_key.pub
ticket_key
"""
    )
