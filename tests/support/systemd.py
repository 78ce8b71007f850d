"""A real systemd as PID 1, in namespaces of its own, over a throw-away overlay of this machine's root file system.

Everything that it installs, starts or breaks is discarded afterwards; its only network is its own loopback. Needs root,
unshare(1), overlayfs and cgroup v2. cgroup controllers are not available inside, so units can be killed by
their cgroup but not limited by it.
"""

import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_TARGET = """
[Unit]
Requires=basic.target dbus.socket
Wants=lab.service
"""

# The system shuts down when the script ends, however it ends.
_SERVICE = """
[Unit]
After=basic.target dbus.socket

[Service]
Type=oneshot
ExecStart=/bin/sh -c '/lab/script >/lab/output 2>&1 </dev/null; echo $? >/lab/status'
ExecStopPost=/bin/systemctl --no-block --force exit
TimeoutStartSec=infinity
"""

# The cgroup is entered before the cgroup namespace is created, so that it is the root inside.
_ENTER = """
echo $$ >"$CGROUP/cgroup.procs"
exec unshare --mount --pid --fork --uts --ipc --net --cgroup --kill-child /bin/sh -e "$LAB/boot"
"""

_BOOT = """
mount --make-rprivate /
mkdir "$LAB/overlay"
mount -t tmpfs tmpfs "$LAB/overlay"
cd "$LAB/overlay"
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
cd root
mount -t proc proc proc
# Kernel modules and some kernel settings are not namespaced: they belong to this machine.
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs dev
for name in null zero full random urandom tty; do touch dev/$name; mount --bind /dev/$name dev/$name; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs tmpfs run
# At boot systemd-tmpfiles(8) removes whatever is in /tmp, one whiteout of the overlay for each file.
mount -t tmpfs -o mode=1777 tmpfs tmp
rm -f etc/machine-id
echo 0123456789abcdef0123456789abcdef >etc/machine-id
mkdir -p etc/systemd/system
cp "$LAB"/units/* etc/systemd/system/
for unit in systemd-modules-load systemd-sysctl systemd-remount-fs; do
    ln -sf /dev/null etc/systemd/system/$unit.service
done
mkdir -p lab
mount --bind "$LAB" lab
# An overlay contains the root file system without other file systems mounted below it.
while IFS= read -r path; do
    mkdir -p ".$path"
    mount --bind "$path" ".$path"
    mount -o remount,bind,ro ".$path"
done <<end
$VISIBLE
end
ip link set lo up
# The kernel makes no user namespace (PrivateUsers=) for a process in a chroot, pivot_root(2) instead.
pivot_root . .
umount -l .
cd /
# As a container's manager leaves it: systemd prepares credentials in a mount namespace that must reach ours.
mount --make-rshared /
exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
    /lib/systemd/systemd --system --unit=lab.target --log-level=warning --show-status=false
"""


def require_systemd() -> None:
    """Skip the test if there is no cgroup v2 hierarchy for a systemd."""
    if _cgroup_root() is None:
        pytest.skip("booting a systemd in namespaces needs cgroup v2")


def run_under_systemd(
    script: str, *, units: Iterable[Path] = (), visible: Iterable[Path] = (), timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Boot a systemd with *units* installed, run *script* in it as root, and shut it down.

    *script* is a program text with a `#!` line. The result has its exit status, and its output and errors
    together in `stdout`. The project, the running Python and the folders in *visible* can be read inside
    under their own paths. Raises AssertionError with the console's last lines if the script never ran, and
    TimeoutError if it has not ended after *timeout* seconds.
    """
    root = _cgroup_root()
    assert root is not None
    with tempfile.TemporaryDirectory(prefix="systemd-") as name:
        lab = Path(name)
        cgroup = root / lab.name
        _furnish(lab, script, units)
        cgroup.mkdir()
        wanted = (ROOT, Path(sys.prefix), Path(sys.base_prefix), *visible)
        # /usr is part of the root file system and can be written to.
        shown = {str(path) for path in wanted if not path.is_relative_to("/usr")}
        try:
            with (lab / "console").open("wb") as console:
                subprocess.run(
                    ["/bin/sh", "-c", _ENTER],
                    env={
                        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                        "LAB": name,
                        "CGROUP": str(cgroup),
                        "VISIBLE": "\n".join(shown),
                    },
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=subprocess.STDOUT,
                    timeout=timeout,
                    check=False,
                )
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"not done after {timeout} s; so far:\n{_read(lab / 'output')}") from None
        finally:
            _remove(cgroup)
        status = _read(lab / "status")
        assert status, f"the script did not end; console:\n{_read(lab / 'console')[-4000:]}"
        return subprocess.CompletedProcess(script, int(status), _read(lab / "output"))


def _furnish(lab: Path, script: str, units: Iterable[Path]) -> None:
    (lab / "units").mkdir()
    for unit in units:
        (lab / "units" / unit.name).write_bytes(unit.read_bytes())
    (lab / "units" / "lab.target").write_text(_TARGET)
    (lab / "units" / "lab.service").write_text(_SERVICE)
    (lab / "boot").write_text(_BOOT)
    (lab / "script").write_text(script)
    (lab / "script").chmod(0o755)
    lab.chmod(0o755)  # units that run as other accounts may read files here


def _read(file: Path) -> str:
    return file.read_text(errors="replace") if file.exists() else ""


def _cgroup_root() -> Path | None:
    """Return where cgroup v2 is mounted; in the hybrid layout that is not /sys/fs/cgroup itself."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        if right.startswith("cgroup2 "):
            return Path(left.split()[4])
    return None


def _remove(cgroup: Path) -> None:
    """Kill all processes in *cgroup* and remove it with its children."""
    with (cgroup / "cgroup.events").open() as events:
        (cgroup / "cgroup.kill").write_text("1")
        changed = select.poll()
        changed.register(events, select.POLLPRI)  # the kernel's event for a changed file
        while "populated 1" in events.read():
            changed.poll(10_000)
            events.seek(0)
    for folder, _, _ in os.walk(cgroup, topdown=False):
        Path(folder).rmdir()
