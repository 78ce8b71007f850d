"""A machine with a real systemd that runs the installed service for the duration of one script."""

import shlex
from pathlib import Path

import pytest

from tests.support.systemd import run_under_systemd

ON_SYSTEMD = [
    pytest.mark.needs(
        "root", "systemd", "systemctl", "journalctl", "unshare", "ip", "dbus-daemon", "ssh-keygen", "pgrep", "bash"
    ),
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("systemd"),
]
"""The marks of a module that calls `under_systemd`. The time limit includes installing, for the first test."""

# `since` records the current time, `logged UNIT PATTERN` waits for a later line of the journal, without polling.
# `begun` starts a run in the background and waits for its first line. `retry` runs a command as soon as the edge has
# found a new core: until then it refuses clients. HOME is an empty directory of root's.
SCRIPT = """#!/bin/bash
# Each command logs in itself.
export FARHAND_MUX=off
set -e
trap '[ $? = 0 ] || journalctl --quiet --no-pager --output=cat' EXIT
export HOME=/root
mount -t tmpfs -o mode=0700 tmpfs /root
cd /root
since() { moment=@$(date +%s.%6N); }
followed() { journalctl --follow --lines=all --output=cat --since="$moment" --unit="$1"; }
logged() { timeout 30 grep -m1 -o -e "$2" < <(followed "$1"); }
pid() { systemctl show --property=MainPID --value "$1"; }
set_key() { sed -i "s/^#\\?$1 = .*/$1 = $2/" /etc/farhand/farhandd.toml; }
begun() { mkfifo first; farhand run "$@" >first & run=$!; exec 3<first; read -r line <&3; }
retry() { until farhand run 127.0.0.1 -- "$@" 2>/dev/null; do :; done; }
since
"""

# As a package's scripts would do: the files are in place, but the system has to be notified.
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
    root: Path, script: str, *, configured: str = "", started: str = STARTED, timeout: float = 120
) -> list[str]:
    """Run *script* on a machine that runs the service installed below *root*; return the lines it prints.

    *configured* runs before the service starts; *started* starts it, with a key that may log in as root.
    Raises TimeoutError if the script has not ended after *timeout* seconds.
    """
    unpacked = UNPACKED.format(root=shlex.quote(str(root)))
    result = run_under_systemd(SCRIPT + unpacked + configured + started + script, visible=[root], timeout=timeout)
    assert result.returncode == 0, result.stdout
    return result.stdout.splitlines()
