"""A real systemd understands our notifications, and our code its sockets and watchdog."""

import sys
from pathlib import Path

import pytest

from tests.support.systemd import run_under_systemd

pytestmark = [
    pytest.mark.needs("root", "systemd", "systemctl", "journalctl", "unshare", "ip", "dbus-daemon"),
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("systemd"),
]


def test_the_scripts_output_and_status_are_returned() -> None:
    result = run_under_systemd("#!/bin/sh\ncat /proc/1/comm; echo error >&2; exit 7\n")
    assert (result.stdout, result.returncode) == ("systemd\nerror\n", 7)


def test_a_script_that_does_not_end_is_killed_at_the_timeout() -> None:
    with pytest.raises(TimeoutError, match="not done after 2 s"):
        run_under_systemd("#!/bin/sh\nexec sleep infinity\n", timeout=2)


# A minimal service that uses only our modules: it writes what it receives from systemd to the journal.
SERVICE = """
import os, signal, sys
from farhand_server.logs import Logger, LogSink
from farhand_server.systemd import Notifier, listen_sockets
sink = LogSink()
sink.configure()
log = Logger(sink, {})
sockets = listen_sockets()
notifier = Notifier.from_environment()
signals = {signal.SIGHUP, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
notifier.ready("trying")
log.warning("started", sockets=",".join(name for name, _ in sockets), watchdog=notifier.watchdog_timeout,
            left=",".join(name for name in os.environ if name.startswith(("LISTEN_", "NOTIFY_", "WATCHDOG_"))))
while signal.sigwait(signals) == signal.SIGHUP:
    notifier.reloading()
    notifier.ready("reloaded\\nMAINPID=1")
notifier.stopping("going")
"""

UNIT = """
[Service]
Type=notify
ExecStart="{python}" -c {code}
ExecReload=/bin/kill -HUP $MAINPID
WatchdogSec={watchdog}
"""

SOCKET = """
[Socket]
ListenStream=127.0.0.1:4711
FileDescriptorName=edge
"""


def service(folder: Path, name: str, watchdog: str) -> Path:
    # systemd reads C escapes, and specifiers, in a quoted argument.
    code = SERVICE.strip().replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"').replace("%", "%%")
    unit = folder / f"{name}.service"
    unit.write_text(UNIT.format(python=sys.executable, code=f'"{code}"', watchdog=watchdog))
    return unit


def test_state_sockets_and_log_reach_systemd(tmp_path: Path) -> None:
    socket = tmp_path / "trial.socket"
    socket.write_text(SOCKET)
    script = """#!/bin/sh
set -ex
systemctl start trial.socket
systemctl start trial.service
systemctl show --property=ActiveState,StatusText trial.service
journalctl --sync
journalctl --unit=trial.service --priority=warning --output=cat
systemctl reload trial.service
until [ "$(systemctl show --property=StatusText --value trial.service)" != trying ]; do :; done
systemctl show --property=ActiveState,StatusText trial.service
systemctl stop trial.socket trial.service
systemctl show --property=ActiveState,Result trial.service
"""
    result = run_under_systemd(script, units=[service(tmp_path, "trial", "20s"), socket])
    assert result.returncode == 0, result.stdout
    lines = [line for line in result.stdout.splitlines() if not line.startswith("+")]
    assert lines == [
        "StatusText=trying",
        "ActiveState=active",
        'msg=started sockets=edge watchdog=20.0 left=""',
        "StatusText=reloaded MAINPID=1",
        "ActiveState=active",
        "Result=success",
        "ActiveState=inactive",
    ]


def test_a_service_that_misses_its_watchdog_is_killed(tmp_path: Path) -> None:
    script = """#!/bin/sh
systemctl start --wait silent.service
systemctl show --property=Result silent.service
"""
    result = run_under_systemd(script, units=[service(tmp_path, "silent", "200ms")])
    assert "Result=watchdog" in result.stdout
