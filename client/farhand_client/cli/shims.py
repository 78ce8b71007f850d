"""`farhand install-shims`: programs called ssh, scp and sftp that go over Farhand, for what has no setting for it."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from farhand_client.ui.exitcodes import EXIT_FAILURE, EXIT_USAGE
from farhand_client.ui.printing import print_bytes, print_message

from .options import command_parser

MARK: Final = "# made by farhand install-shims"
"""The second line of each shim: only what has it is replaced or removed."""

_DESCRIPTION: Final = """\
Write programs called ssh, scp and sftp to DIR. With DIR before the others in PATH, whatever runs ssh uses Farhand.

  farhand install-shims ~/.local/share/farhand/shims
  PATH=~/.local/share/farhand/shims:$PATH some-program
"""

_EPILOG: Final = """\
ssh becomes `farhand rsh`; scp and sftp are the ones of OpenSSH, which then connect through it and need its sftp-server
on the other machine. Nothing outside of DIR is touched, and nothing in it that farhand has not made.

Exit code: 0; 255 if a program could not be written or removed; 2 for wrong usage.
"""

PROGRAMS: Final = ("ssh", "scp", "sftp")


class ShimRefused(Exception):
    """A shim is not made or removed; the text says why."""


def shims_command(arguments: Sequence[str]) -> int:
    """Run `farhand install-shims` and return the exit code."""
    parser = command_parser("install-shims", "DIR", _DESCRIPTION, _EPILOG)
    parser.add_argument("--remove", action="store_true", help="remove the programs again, and DIR if it is empty then")
    parser.add_argument("directory", metavar="DIR", type=Path, help="where to write them; it is made if need be")
    options = parser.parse_args(arguments)
    directory: Path = options.directory.expanduser().absolute()
    try:
        if options.remove:
            return _remove(directory)
        return _install(directory, farhand_program(directory))
    except ShimRefused as error:
        print_message(str(error))
        return EXIT_USAGE
    except OSError as error:
        doing = "removed from" if options.remove else "written to"
        print_message(f"the programs cannot be {doing} {directory}: {error.strerror}")
        return EXIT_FAILURE


def farhand_program(directory: Path) -> list[str]:
    """Return the words that run this installation of farhand, whatever PATH is then."""
    beside = Path(sys.argv[0]).absolute()
    for program in (beside, Path(sys.executable).with_name("farhand")):
        if program.name == "farhand" and os.access(program, os.X_OK) and program.parent != directory:
            return [str(program)]
    return [sys.executable, "-m", "farhand_client"]


def real_program(name: str, path: str) -> Path | None:
    """Return the first program of that name in the directories of `path` that is no shim; None if there is none."""
    for each in path.split(os.pathsep):
        found = Path(each or ".", name).absolute()
        if os.access(found, os.X_OK) and found.is_file() and not is_shim(found):
            return found
    return None


def is_shim(path: Path) -> bool:
    """Return whether a file was made by this command."""
    try:
        with path.open("rb") as file:
            return file.read(256).split(b"\n")[1:2] == [MARK.encode()]
    except OSError:
        return False


def shim_texts(directory: Path, farhand: Sequence[str], programs: Mapping[str, Path]) -> dict[str, str]:
    """Return the text of each shim. `programs` are the real scp and sftp, as far as there are any."""
    ssh = shlex.quote(str(directory / "ssh"))
    texts = {"ssh": f'exec {shlex.join(farhand)} rsh "$@"'}
    for name in PROGRAMS[1:]:
        if name in programs:
            texts[name] = f'exec {shlex.quote(str(programs[name]))} -S {ssh} "$@"'
    return {name: f"#!/bin/sh\n{MARK}\n{text}\n" for name, text in texts.items()}


def _install(directory: Path, farhand: Sequence[str]) -> int:
    path = os.environ.get("PATH", os.defpath)
    programs = {name: found for name in PROGRAMS[1:] if (found := real_program(name, path)) is not None}
    for name in PROGRAMS:
        if os.path.lexists(directory / name) and not is_shim(directory / name):
            raise ShimRefused(f"{directory / name} exists, and farhand has not made it; nothing was written")
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in shim_texts(directory, farhand, programs).items():
        _write(directory / name, text)
    for name in PROGRAMS[1:]:
        if name not in programs:
            (directory / name).unlink(missing_ok=True)
            print_message(
                f"there is no {name} in PATH, so that none was written; install OpenSSH's client, or use farhand cp"
            )
    print_bytes(os.fsencode(f"export PATH={shlex.quote(str(directory))}:$PATH\n"))
    return 0


def _write(path: Path, text: str) -> None:
    """Replace a file as a whole: another process may be running it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123  # a descriptor
            file.write(os.fsencode(text))
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _remove(directory: Path) -> int:
    for name in PROGRAMS:
        path = directory / name
        if is_shim(path):
            path.unlink()
        elif os.path.lexists(path):
            print_message(f"{path} was left: farhand has not made it")
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()
    return 0
