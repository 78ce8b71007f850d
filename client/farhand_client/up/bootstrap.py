"""The first words on the other machine: a script for sh(1) that finds a Python and turns it into the far side.

The account's shell may be any: all that it gets to see is `sh -c '…'`, without characters that fish, zsh or tcsh read
otherwise. The script is read from stdin by dd(1), which takes exactly its bytes: what follows is for Python.
"""

from __future__ import annotations

from importlib import resources
from typing import Final

FAR_MODULES: Final = ("trouble", "places", "record", "installation", "settings", "keeping", "program")
"""The modules of `there` in an order in which each needs only those before it."""

_PACKAGE: Final = "farhand_client.up.there"

_LOADER: Final = """\
import sys, types
sys.dont_write_bytecode = True
for name, text in {modules!r}:
    module = types.ModuleType(name)
    module.__path__ = []
    sys.modules[name] = module
    exec(compile(text, name, "exec"), module.__dict__)
sys.modules["{package}.program"].main({mark!r})
"""

# No command in here reads stdin: what follows is for Python.
_FINDER: Final = """\
exec 3>&1 1>&2
sudo=
if [ {system} = yes ] && [ "$(id -u)" != 0 ]; then
    if sudo -n true </dev/null 2>/dev/null; then sudo='sudo -n'; else
        echo '{mark} {{"no_root": true}}' >&3
        exit 1
    fi
fi
suits() {{ $sudo "$1" -I -c '{suitable}' </dev/null >/dev/null 2>&1; }}
found=
for python in {candidates}; do
    case $python in */*) ;; *) python=$(command -v "$python" 2>/dev/null) || continue ;; esac
    if [ -x "$python" ] && suits "$python"; then found=$python; break; fi
done
if [ -n "$found" ]; then
    exec $sudo "$found" -I -c 'import sys; exec(sys.stdin.buffer.read({size}))' 1>&3 3>&-
fi
release=
for file in /etc/os-release /usr/lib/os-release; do
    if [ -r $file ]; then release=$(. $file; echo "$ID:$VERSION_ID:$PRETTY_NAME" | tr -d '"\\\\'); break; fi
done
newest=$(python3 --version 2>/dev/null </dev/null | head -n 1 | tr -d '"\\\\')
echo "{mark} {{\\"no_python\\": \\"$release\\", \\"newest\\": \\"$newest\\"}}" >&3
exit 1
"""

_SUITABLE: Final = (
    "import os, sys; sys.exit(sys.version_info < (3, 11) or "
    # As deploy/install: the account of the edge cannot read what is in a home directory.
    'os.getuid() == 0 and os.path.isdir("/run/systemd/system") and '
    'os.path.realpath(sys.executable).startswith(("/root/", "/home/")))'
)
"""Whether a Python is the right one, by its exit code."""

_VERSIONS: Final = tuple(f"python3.{minor}" for minor in (11, 12, 13, 14))

_PLACES: Final = (
    '"$HOME"/.local/bin/python3',
    "/usr/local/bin/python3",
    '"$HOME"/.pyenv/versions/3.1[1-9]*/bin/python3',
    '"$HOME"/.local/share/uv/python/cpython-3.1[1-9]*/bin/python3',
    "/opt/python/cp31[1-9]-*/bin/python3",
    "/usr/bin/python3.1[1-9]",
)
"""Where else Pythons are: the PATH of a command over ssh is shorter than that of a login."""

COMMANDS_THAT_INSTALL: Final = {
    "debian": "apt install python3 (Debian 12 and later)",
    "ubuntu": "apt install python3.11 (22.04), apt install python3 (later releases)",
    "fedora": "dnf install python3",
    "rhel": "dnf install python3.11",
    "rocky": "dnf install python3.11",
    "almalinux": "dnf install python3.11",
    "centos": "dnf install python3.11",
    "amzn": "dnf install python3.11",
    "opensuse-leap": "zypper install python311",
    "opensuse-tumbleweed": "zypper install python311",
    "sles": "zypper install python311",
    "alpine": "apk add python3",
    "arch": "pacman -S python",
}
"""What to type on a distribution, by its ID of os-release(5)."""

ANYWHERE: Final = "without root: curl -LsSf https://astral.sh/uv/install.sh | sh; ~/.local/bin/uv python install 3.11"


def remote_command(script: bytes) -> str:
    """Return the command for the account's shell. It runs `script`, which is sent first on stdin."""
    return f"sh -c 'eval \"$(dd bs=1 count={len(script)} 2>/dev/null)\"'"


def first_words(mark: str, *, system: bool, python: str | None, minor: int) -> tuple[bytes, bytes]:
    """Return the script, and the program for the Python that it finds.

    Both answer on lines that begin with `mark`. `python` is the only interpreter to try; otherwise those of Python
    3.`minor` come first: wheels that were compiled for it are at hand.
    """
    program = _LOADER.format(modules=[*_modules()], package=_PACKAGE, mark=mark).encode()
    versions = sorted(_VERSIONS, key=lambda name: name != f"python3.{minor}")
    candidates = [_quoted(python)] if python else [*versions, "python3", *_PLACES]
    script = _FINDER.format(
        mark=mark,
        suitable=_SUITABLE,
        system="yes" if system else "no",
        candidates=" ".join(candidates),
        size=len(program),
    )
    return script.encode(), program


def python_missing(release: str, newest: str, wanted: str | None) -> str:
    """Return the sentence for a machine without Python 3.11 or later."""
    system, _, rest = release.partition(":")
    title = rest.partition(":")[2] or "this system"
    if wanted is not None:
        return f"{wanted} there is not a Python 3.11 or later that a service can use"
    has = f"the newest Python there is {newest.removeprefix('Python ')}" if newest else "there is no Python there"
    command = COMMANDS_THAT_INSTALL.get(system)
    how = f"; on {title}: {command}" if command else f"; install Python 3.11 or later ({title})"
    return f"Farhand needs Python 3.11 or later, and {has}{how}; or {ANYWHERE}"


def _modules() -> list[tuple[str, str]]:
    found = [(name, "") for name in ("farhand_client", "farhand_client.up", _PACKAGE)]
    directory = resources.files(_PACKAGE)
    return found + [(f"{_PACKAGE}.{name}", (directory / f"{name}.py").read_text("utf-8")) for name in FAR_MODULES]


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"
