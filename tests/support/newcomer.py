"""Does what the README tells a newcomer to do, on a machine that has nothing but Python.

`follow` runs transcripts as accounts that exist only in namespaces of their own: an empty home directory each, no
network but loopback, of this machine only /usr, the running Python and what is made visible. This file is also the
program that runs in there, with nothing but the standard library: it reads a JSON list of steps from stdin, and prints
the list of their outputs.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

TIMEOUT: Final = 120.0
"""Seconds that one step may take; installing takes longest."""

ACCOUNTS: Final = {"me": 4001, "deploy": 4002}

_BOOT: Final = """
umask 022
mount --make-rprivate /
mount -t tmpfs tmpfs "$LAB"
cd "$LAB"
mkdir -p etc home proc dev tmp run usr root
chmod 1777 tmp
mount --rbind /usr usr
for name in bin sbin lib lib32 lib64 libx32; do
    if [ -L /$name ]; then cp -a /$name .; elif [ -d /$name ]; then mkdir $name; mount --bind /$name $name; fi
done
mount -t proc proc proc
for name in null zero full random urandom; do touch dev/$name; mount --bind /dev/$name dev/$name; done
ln -s /proc/self/fd dev/fd
cp /etc/ld.so.cache etc/ 2>/dev/null || :
echo 'passwd: files
group: files
hosts: files' >etc/nsswitch.conf
echo '127.0.0.1 localhost web.example.org' >etc/hosts
echo 'root:x:0:0::/root:/bin/sh' >etc/passwd
echo 'root:x:0:' >etc/group
for account in $ACCOUNTS; do
    name=${account%:*} number=${account#*:}
    echo "$name:x:$number:$number::/home/$name:/bin/bash" >>etc/passwd
    echo "$name:x:$number:" >>etc/group
    mkdir -m 700 home/$name
    chown $number:$number home/$name
done
while IFS= read -r path; do
    mkdir -p ".$path"
    mount --bind "$path" ".$path"
    mount -o remount,bind,ro ".$path"
done <<end
$VISIBLE
end
ip link set lo up
exec chroot . "$PYTHON" -I "$PROGRAM"
"""


@dataclass(frozen=True)
class Step:
    """One command typed by `account`; with `until`, it goes on while the next ones run, once it has printed that."""

    account: str
    command: str
    until: str = ""


def follow(steps: Iterable[Step], *, visible: Iterable[Path] = (), environ: Mapping[str, str]) -> list[str]:
    """Return what each step printed, on stdout or stderr. Needs root, unshare(1) and ip(8).

    In a step, `ssh-ed25519 AAAA…` stands for the last key that was printed, and `SHA256:…` for the last fingerprint.
    """
    program = Path(__file__).resolve()
    python = Path(sys.base_prefix) / "bin/python3"
    shown = {str(path) for path in (Path(sys.base_prefix), program.parent, *visible) if not path.is_relative_to("/usr")}
    request = {"environ": dict(environ), "steps": [asdict(step) for step in steps]}
    with tempfile.TemporaryDirectory(prefix="newcomer-") as lab:
        namespaces = ("--mount", "--pid", "--fork", "--net", "--uts", "--ipc", "--kill-child")
        result = subprocess.run(
            ["unshare", *namespaces, "/bin/sh", "-ec", _BOOT],
            env={
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "LAB": lab,
                "VISIBLE": "\n".join(sorted(shown)),
                "ACCOUNTS": " ".join(f"{name}:{number}" for name, number in ACCOUNTS.items()),
                "PYTHON": str(python),
                "PROGRAM": str(program),
            },
            input=json.dumps(request),
            capture_output=True,
            text=True,
            check=False,
        )
    assert result.returncode == 0, result.stderr
    printed: list[str] = json.loads(result.stdout)
    return printed


def main() -> None:
    """Take the steps that stdin lists, and print their outputs."""
    request = json.load(sys.stdin)
    seen = ""
    outputs = []
    started = []
    for step in request["steps"]:
        process = _type(step, request["environ"], seen)
        assert process.stdout is not None
        if step["until"]:
            output = _read_until(process.stdout, step["until"])
            started.append(process)
        else:
            output = process.communicate(timeout=TIMEOUT)[0]
        outputs.append(output)
        seen += output
    for process in started:
        process.kill()
    json.dump(outputs, sys.stdout)


def _type(step: dict[str, str], environ: dict[str, str], seen: str) -> subprocess.Popen[str]:
    command = step["command"]
    for placeholder, pattern in (("ssh-ed25519 AAAA…", r"ssh-ed25519 AAAA\S+"), ("SHA256:…", r"SHA256:\S+")):
        if found := re.findall(pattern, seen):
            command = command.replace(placeholder, found[-1])
    number = ACCOUNTS[step["account"]]
    home = f"/home/{step['account']}"
    account: dict[str, Any] = {"user": number, "group": number, "extra_groups": []}
    return subprocess.Popen(
        # What the installer advised to add to .bashrc applies to each new shell.
        ["/bin/bash", "-c", f"exec 2>&1; [ ! -e ~/.bashrc ] || . ~/.bashrc; {command}"],
        cwd=home,
        env={
            "HOME": home,
            "USER": step["account"],
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
            "PATH": f"{sys.base_prefix}/bin:/usr/bin:/bin",
            **environ,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        umask=0o022,
        **account,
    )


def _read_until(stream: IO[str], words: str) -> str:
    output = ""
    while words not in output:
        line = stream.readline()
        output += line
        if not line:
            break
    return output


if __name__ == "__main__":
    main()
