"""`farhand up` where systemd runs the machine: units of the account's own, and those of the system for root."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.support.systemd import run_under_systemd

pytestmark = [
    pytest.mark.long,
    pytest.mark.needs(
        "root", "systemd", "systemctl", "unshare", "ip", "dbus-daemon", "ssh", "sshd", "ssh-keygen", "bash"
    ),
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("systemd"),
]

# The manager of a user's services needs no PAM here, and no login: it is started by hand.
BEGIN = f"""#!/bin/bash
set -e
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t tmpfs -o mode=0755 tmpfs /home
mkdir -p /run/sshd /run/keys
echo 'ann:x:4001:4001::/home/ann:/bin/bash' >>/etc/passwd
echo 'ann:x:4001:' >>/etc/group
mkdir -m 700 /home/ann
chown 4001:4001 /home/ann
mkdir -p -m 700 /home/me/.ssh
ssh-keygen -q -t ed25519 -N '' -f /run/host_key
ssh-keygen -q -t ed25519 -N '' -f /home/me/.ssh/id_ed25519
for account in ann root; do cp /home/me/.ssh/id_ed25519.pub /run/keys/$account; done
cat >/run/sshd_config <<end
HostKey /run/host_key
PidFile none
UsePAM no
PermitRootLogin yes
AuthorizedKeysFile /run/keys/%u
StrictModes no
end
/usr/sbin/sshd -f /run/sshd_config
cat >/run/ssh <<end
#!/bin/sh
exec /usr/bin/ssh -F none -i /home/me/.ssh/id_ed25519 -o StrictHostKeyChecking=accept-new \\
    -o UserKnownHostsFile=/home/me/.ssh/known_hosts "\\$@"
end
chmod +x /run/ssh
me() {{
    env -i FARHAND_SSH=/run/ssh HOME=/home/me USER=me LANG=C.UTF-8 PATH={Path(sys.prefix)}/bin:/usr/bin:/bin \\
        FARHAND_MUX=off "$@"
}}
"""

USER_MANAGER = """
printf 'account required pam_permit.so\\nsession required pam_permit.so\\n' >/etc/pam.d/systemd-user
mkdir -p /run/systemd/system/user@.service.d
printf '[Service]\\nEnvironment=XDG_RUNTIME_DIR=/run/user/%%i\\n' >/run/systemd/system/user@.service.d/x.conf
systemctl daemon-reload
systemctl start user-runtime-dir@4001 user@4001
"""


def done(script: str) -> str:
    result = run_under_systemd(BEGIN + script, timeout=200)
    assert result.returncode == 0, result.stdout
    return result.stdout


def test_an_account_s_service_is_a_unit_of_its_own_and_goes_with_remove() -> None:
    printed = done(
        USER_MANAGER
        + """
        find /home/ann -not -path '*/.cache*' | sort >/run/before
        me farhand up ann@127.0.0.1
        me farhand run 127.0.0.1 -- id -un
        cat /home/ann/.config/systemd/user/farhandd.service | grep ^ExecStart
        me farhand up ann@127.0.0.1 | grep ^start
        me farhand up --remove 127.0.0.1
        find /home/ann -not -path '*/.cache*' | sort | diff /run/before -
        """
    )
    assert re.search(r"(?m)^start: +started by systemd --user, pid \d+$", printed)
    assert "run loginctl enable-linger ann" in printed
    assert "\nann\n" in printed
    assert "ExecStart=/home/ann/.local/share/farhand/current/bin/farhandd serve" in printed
    assert re.search(r"(?m)^start: +runs by systemd --user, pid \d+$", printed)


def test_root_s_service_has_core_and_edge_as_units_and_goes_with_remove() -> None:
    printed = done(
        """
        me farhand up root@127.0.0.1
        me farhand run 127.0.0.1 -- id -un
        systemctl is-active farhandd.service farhand-edge.service
        ps -o user= -p $(systemctl show --property=MainPID --value farhand-edge)
        me farhand up root@127.0.0.1 | grep ^start
        me farhand up --remove 127.0.0.1
        ! ls -d /opt/farhand /etc/farhand /run/farhand /var/lib/farhand /etc/systemd/system/farhand* 2>/dev/null
        ! id farhand-edge 2>/dev/null
        """
    )
    assert re.search(r"(?m)^start: +started by systemd, pid \d+$", printed)
    assert "\nroot\nactive\nactive\n" in printed
    assert "farhand-" in printed
    assert re.search(r"(?m)^start: +runs by systemd, pid \d+$", printed)
