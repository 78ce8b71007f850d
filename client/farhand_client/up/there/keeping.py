"""Starts and stops the service: as a unit of systemd, the user's or the system's, or detached from everything."""

from __future__ import annotations

import os
import pwd
import select
import shutil
import signal
import socket
import struct
import subprocess
from pathlib import Path
from typing import Final, Literal, TypeAlias

from farhand_client.up.there.places import FarPlaces
from farhand_client.up.there.record import Record
from farhand_client.up.there.trouble import MAX_COMPLAINT, FarSideError, output_of, reported

Manner: TypeAlias = Literal["systemd", "systemd --user", "detached"]
"""How a service is kept running."""

READY_TIMEOUT: Final = 60.0
"""Seconds until a service must be ready. It takes well under one, but machines can be busy."""

STOP_TIMEOUT_THERE: Final = 40.0
"""Seconds until a service that was told to stop is killed: more than `drain.grace` and `runs.kill_after` by default."""

USER_UNIT: Final = "farhandd.service"

_USER_UNIT_TEXT: Final = """\
# Written by farhand up. Local changes belong into a drop-in: systemctl --user edit farhandd.service
[Unit]
Description=Farhand, runs commands for clients
# Restart without limit, once a second: a temporary fault must not make the machine unreachable.
StartLimitIntervalSec=0

[Service]
Type=notify
{environment}ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
WatchdogSec=30s
Restart=on-failure
RestartSec=1s
TimeoutStartSec=60s
# drain.grace (10 s) plus runs.kill_after (5 s), plus time to deliver outcomes.
TimeoutStopSec=30s
# Send TERM only to the service, which ends its runs in order.
KillMode=mixed
# A run that is out of memory must not take the service down with it.
OOMPolicy=continue
# Each run gets a cgroup below this unit's.
Delegate=yes
# What runs.max_runs (1024) needs, or as much of it as this account may have.
LimitNOFILE=16384:524288

[Install]
WantedBy=default.target
"""


def serve_words(places: FarPlaces) -> list[str]:
    """Return the command line of the service. It names its places, so that no environment can change them."""
    if places.system:
        return [str(places.farhandd), "serve", "--config", str(places.config_file)]
    return [
        str(places.farhandd), "serve", "--config", str(places.config_file), "--state-dir", str(places.state),
    ]  # fmt: skip


def user_unit(places: FarPlaces, environ: dict[str, str]) -> str:
    """Return the text of the user's unit."""
    environment = ""
    if "XDG_CONFIG_HOME" in environ:  # the manager of the user's services may not have it
        environment = f"Environment={_unit_word('XDG_CONFIG_HOME=' + environ['XDG_CONFIG_HOME'])}\n"
    return _USER_UNIT_TEXT.format(environment=environment, command=" ".join(map(_unit_word, serve_words(places))))


def _unit_word(word: str) -> str:
    """Quote a word for ExecStart= (systemd.syntax(7), systemd.service(5))."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if escaped != word or " " in word else word


def manager(places: FarPlaces, environ: dict[str, str]) -> tuple[Manner, str]:
    """Return how a service can be kept running here, and if not by systemd, why."""
    if shutil.which("systemctl") is None:
        return "detached", "there is no systemd"
    if places.system:
        booted = Path("/run/systemd/system").is_dir()
        return ("systemd", "") if booted else ("detached", "systemd is not running this machine")
    try:
        output_of(["systemctl", "--user", "show-environment"], systemctl_environment(environ))
    except FarSideError:
        return "detached", "this account has no systemd of its own (systemctl --user does not answer)"
    return "systemd --user", ""


def systemctl_environment(environ: dict[str, str]) -> dict[str, str]:
    """Return the environment with which `systemctl --user` finds its manager, which a login without PAM lacks."""
    runtime = f"/run/user/{os.getuid()}"
    return environ if "XDG_RUNTIME_DIR" in environ or not Path(runtime).is_dir() else {
        **environ, "XDG_RUNTIME_DIR": runtime,
    }  # fmt: skip


def lingers(user: str) -> bool:
    """Return whether the user's services go on after the last logout."""
    return Path("/var/lib/systemd/linger", user).exists()


def service_pid(path: Path) -> int | None:
    """Return the process that listens on the Unix socket `path`; None if there is none."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        try:
            client.connect(str(path))
            credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError:
            return None
    pid: int = struct.unpack("3i", credentials)[0]
    return pid or None


def systemctl(places: FarPlaces, *words: str, environ: dict[str, str], check: bool = True) -> str:
    """Call systemctl(1) for the service's manager."""
    scope = [] if places.system else ["--user"]
    return output_of(["systemctl", *scope, *words], systemctl_environment(environ), check=check)


def start_detached(places: FarPlaces, record: Record, environ: dict[str, str], umask: int) -> subprocess.Popen[bytes]:
    """Start the service in a session of its own, and return its process when it is ready.

    Raises FarSideError with its log.
    """
    record.directory(places.state, 0o700)
    account = pwd.getpwuid(os.getuid())
    kept = {name: value for name, value in environ.items() if name in ("LANG", "PATH", "XDG_CONFIG_HOME")}
    clean = kept | {"HOME": str(places.home), "USER": account.pw_name, "LOGNAME": account.pw_name}
    clean |= {"SHELL": account.pw_shell or "/bin/sh"}
    with reported("start the service"):
        if places.log_file.exists():
            places.log_file.replace(places.log_file.with_suffix(".log.old"))
        # Opened for nobody else: a log names commands.
        descriptor = os.open(places.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with open(descriptor, "ab") as log:  # noqa: PTH123  # a descriptor, not a path
            process = subprocess.Popen(
                serve_words(places),
                env=clean,
                cwd=os.sep,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                umask=umask,
            )
    assert process.stdout is not None
    with process.stdout as stdout:
        if not _line_in_time(stdout.fileno(), READY_TIMEOUT):
            process.kill()
            process.wait()
            said = places.log_file.read_text(errors="replace").strip()[-MAX_COMPLAINT:]
            raise FarSideError(f"the service did not start: {said or 'its log is empty'}")
    return process


def _line_in_time(descriptor: int, timeout: float) -> bool:
    ready, _, _ = select.select([descriptor], [], [], timeout)
    return bool(ready) and bool(os.read(descriptor, 4096))


def stop_detached(pid: int) -> None:
    """Stop a process: TERM, and KILL if it is still there after its time."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        with reported("stop the service"):
            signal.pidfd_send_signal(process, signal.SIGTERM)
            if not select.select([process], [], [], STOP_TIMEOUT_THERE)[0]:
                signal.pidfd_send_signal(process, signal.SIGKILL)
                select.select([process], [], [], STOP_TIMEOUT_THERE)
    finally:
        os.close(process)
