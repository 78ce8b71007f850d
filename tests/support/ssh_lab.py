"""A private machine with a real sshd, in namespaces of its own: accounts with empty homes, and a second network.

Everything in it is gone with the script that ran there. The client is the account `me`; the machine `web`, which it
reaches by ssh, is in another network namespace. Of this machine there are only /usr, this Python and this project.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]

ON_SSH_LAB: Final = [
    pytest.mark.needs("root", "unshare", "nsenter", "ip", "setpriv", "ssh", "sshd", "ssh-keygen", "bash"),
    pytest.mark.timeout(300),
]
"""The marks of a module that calls `run_in_ssh_lab`."""

SHELLS: Final = {"me": "bash", "ann": "bash", "fay": "fish", "zoe": "zsh", "dan": "dash"}
"""The accounts and their login shells."""

_BOOT: Final = """
umask 022
mount --make-rprivate /
mount -t tmpfs tmpfs "$LAB"
cd "$LAB"
mkdir -p etc/ssh home proc dev tmp run/sshd usr root opt var/lib
chmod 1777 tmp
mount --rbind /usr usr
# Installing for all users writes there.
mount -t tmpfs tmpfs usr/local
for name in bin sbin lib lib32 lib64 libx32; do
    if [ -L /$name ]; then cp -a /$name .; elif [ -d /$name ]; then mkdir $name; mount --bind /$name $name; fi
done
mount -t proc proc proc
for name in null zero full random urandom tty; do touch dev/$name; mount --bind /dev/$name dev/$name; done
ln -s /proc/self/fd dev/fd
cp /etc/ld.so.cache /etc/os-release etc/ 2>/dev/null || :
printf 'passwd: files\\ngroup: files\\nhosts: files\\n' >etc/nsswitch.conf
printf '127.0.0.1 localhost\\n10.9.0.2 web\\n' >etc/hosts
printf 'root:x:0:0::/root:/bin/bash\\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\\n' >etc/passwd
printf 'root:x:0:\\nnogroup:x:65534:\\n' >etc/group
number=4000
for account in $ACCOUNTS; do
    name=${account%:*} number=$((number + 1))
    echo "$name:x:$number:$number::/home/$name:/usr/bin/${account#*:}" >>etc/passwd
    echo "$name:x:$number:" >>etc/group
    mkdir -m 700 home/$name
    chown $number:$number home/$name
done
chmod 700 root
while IFS= read -r path; do
    mkdir -p ".$path"
    mount --bind "$path" ".$path"
    mount -o remount,bind,ro ".$path"
    while path=${path%/*}; [ -n "$path" ]; do chmod a+x ".$path" 2>/dev/null || :; done
done <<end
$VISIBLE
end
ip link set lo up
cp "$SCRIPT" tmp/script
exec chroot . /bin/bash /tmp/script
"""

_BEGIN: Final = """
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
as() {
    local account=$1; shift
    setpriv --reuid $account --regid $account --clear-groups env -i HOME=/home/$account USER=$account LANG=C.UTF-8 \\
        SHELL=/bin/bash PATH=@PROGRAMS@:/usr/bin:/bin FARHAND_MUX=off "$@"
}
me() { as me "$@"; }
# A process that keeps the second network, in which sshd and all that it starts are.
mkfifo /run/ready
unshare --net --uts bash -c 'hostname web; ip link set lo up; echo >/run/ready; exec sleep infinity' &
web=$!
read -r _ </run/ready
on_web() { nsenter --target $web --net --uts "$@"; }
ip link add here type veth peer name there netns $web
ip addr add 10.9.0.1/24 dev here
ip link set here up
on_web ip addr add 10.9.0.2/24 dev there
on_web ip link set there up
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/host_key
cat >/etc/ssh/sshd_config <<end
HostKey /etc/ssh/host_key
PidFile none
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
end
on_web /usr/sbin/sshd -f /etc/ssh/sshd_config
me ssh-keygen -q -t ed25519 -N '' -f /home/me/.ssh/id_ed25519
echo "web $(cut -d' ' -f1,2 /etc/ssh/host_key.pub)" >/home/me/.ssh/known_hosts
for account in $NAMES root; do
    home=$(eval echo ~$account)
    mkdir -p -m 700 $home/.ssh
    [ $account = me ] || cp /home/me/.ssh/id_ed25519.pub $home/.ssh/authorized_keys
    chown -R $account: $home/.ssh
done
tree() { find "$@" -xdev \\( -path /proc -o -path /tmp \\) -prune -o -printf '%p %M %u %l\\n' | sort; }
"""


def run_in_ssh_lab(script: str, *, timeout: float = 240) -> str:
    """Run a script for bash as root of a fresh lab, and return what it prints on stdout and stderr.

    `me COMMAND` runs a command as the client; `as ACCOUNT COMMAND` as another account; `on_web` in the other network;
    `tree DIRECTORY` lists everything below, for comparing. The script fails with its first failing command.
    """
    programs = Path(sys.prefix, "bin")
    shown = {ROOT, Path(sys.prefix), Path(sys.base_prefix)}
    visible = sorted(str(path) for path in shown if not path.is_relative_to("/usr"))
    with tempfile.TemporaryDirectory(prefix="ssh-lab-") as directory:
        lab, file = Path(directory, "lab"), Path(directory, "script")
        lab.mkdir()
        file.write_text(f"set -eE\n{_BEGIN.replace('@PROGRAMS@', shlex.quote(str(programs)))}\n{script}")
        done = subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "--net", "--uts", "--ipc", "--kill-child", "sh", "-ec", _BOOT],
            env={
                "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin",
                "LAB": str(lab),
                "SCRIPT": str(file),
                "VISIBLE": "\n".join(visible),
                "ACCOUNTS": " ".join(f"{name}:{shell}" for name, shell in SHELLS.items()),
                "NAMES": " ".join(SHELLS),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
    printed = done.stdout.decode(errors="replace")
    assert done.returncode == 0, printed
    return printed
