"""The options of `farhand put`, `get`, `sync` and `cp`, and what the client's methods call them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from .options import add_connection_options, add_reconnect, command_parser
from .parser import CommandParser
from .values import file_mode, moment, size, transfer_rate

_RESUMED: Final = "what was cut off is always continued; leave it out"
_PROGRESS: Final = "progress is shown wherever stdout and stderr are terminals; leave it out"
_COMPRESSION: Final = "nothing is compressed on the way"

_SYMLINKS: Final = "symbolic links stay links; only one that is SRC itself is followed"
_NO_BACKUP: Final = "no older version is kept; with -n you see what would be replaced"

HABITS: Final = {
    "-o": "--owner USER:GROUP sets the owner",
    "-A": "ACLs are kept with -X",
    "--acls": "ACLs are kept with -X",
    "--append": _RESUMED,
    "--stats": _PROGRESS,
    "-h": _PROGRESS,
    "-z": _COMPRESSION,
    "-C": _COMPRESSION,
    "--compress": _COMPRESSION,
    "--bwlimit": "write --limit-rate SIZE",
    "-u": "there is no comparison of ages; what differs in size or time is sent",
    "--update": "there is no comparison of ages; what differs in size or time is sent",
    "-L": _SYMLINKS,
    "--copy-links": _SYMLINKS,
    "--backup": _NO_BACKUP,
    "-b": _NO_BACKUP,
    "--suffix": _NO_BACKUP,
    "--backup-dir": _NO_BACKUP,
    "--include-from": "write --include PATTERN; --exclude-from FILE takes lines that begin with !, too",
    "--files-from": "name each SRC, or a pattern",
    "--force": "sync --delete replaces what is of another kind",
    "--delete-after": "write --delete, which deletes after all else has worked",
    "--delete-excluded": "what is excluded is never deleted",
    "-i": "-v prints what was done, and -n what would be",
    "--itemize-changes": "-v prints what was done, and -n what would be",
    "-f": "files are replaced without a question; leave it out",
    "-e": "connections are Farhand's own; HOST says where to",
    "--rsh": "connections are Farhand's own; HOST says where to",
    "--inplace": "write --in-place",
    "--chmod": "write --mode MODE, in octal",
    "--chown": "write --owner USER:GROUP",
    "--mkpath": "write --parents",
}
"""How to do what an option means to scp(1), rsync(1) and cp(1)."""

_ALWAYS: Final = (
    *("-r", "-R", "--recursive", "-a", "--archive", "-p", "--perms", "-t", "--times", "-H", "--hard-links"),
    *("--links", "--sparse", "--partial", "--progress"),
)
"""Options of scp(1), rsync(1) and cp(1) for what is always done: they change nothing."""

_ALWAYS_IN_SYNC: Final = ("-l", "-S", "-P")
"""Those that only rsync(1) understands so: to scp(1) they have a value."""

_NOT_IN_SYNC: Final = {
    "--delete": "farhand sync deletes",
    "-l": "write --limit-rate SIZE; links are always kept",
    "-i": "write -I FILE for the key",
    "-S": "holes are always kept; leave it out",
    "-P": "the port is part of HOST: name:port; progress is shown on terminals, and what was cut off is continued",
}

RULES: Final = """\
A directory is sent with all that is below it, and placed in DEST. A file is placed in DEST if that is a directory or
ends with a slash, and becomes DEST otherwise. SRC/ is what the directory SRC contains, as in rsync. Relative paths on
the other machine begin at the home directory.

Each file appears in its place at once and whole, after its digest was compared and it is on disk. What was cut off is
continued: by itself while farhand runs, and otherwise by the same command again.

Exit code: 0 if all is in place; 1 if some files failed; 255 if the connection, the login or the host key failed; 2 for
wrong usage; 130 after Ctrl-C.
"""

_NAMES: Final = (
    *("parents", "excludes", "max_size", "newer_than", "checksum", "times", "mode", "owner", "xattrs", "in_place"),
    *("sync", "sha256", "rate", "dry_run"),
)


def transfer_parser(name: str, usage: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """Return the parser of the command `name`, whose words are parsed into `options.words`."""
    parser = command_parser(name, usage, description, epilog)
    add_transfer_options(parser, name)
    parser.add_argument("--json", action="store_true", help="print each event as a line of JSON")
    add_reconnect(parser)
    add_connection_options(parser)
    return parser


def add_transfer_options(parser: CommandParser, name: str) -> None:
    """Add what is also understood where there is a connection already."""
    parser.habits = HABITS if name == "sync" else HABITS | _NOT_IN_SYNC
    add = parser.add_argument
    add("-n", "--dry-run", action="store_true", help="change nothing; say what would be done")
    add("-c", "--checksum", action="store_true", help="compare digests, instead of sizes and times")
    add(
        "--exclude",
        dest="excludes",
        metavar="PATTERN",
        type=_as_exclude,
        action="append",
        default=[],
        help="leave out what matches, in the syntax of .gitignore (repeatable)",
    )
    add(
        "--exclude-from",
        dest="excludes",
        metavar="FILE",
        type=_lines_of,
        action="extend",
        help="the same with each line of FILE, such as a .gitignore (repeatable)",
    )
    add(
        "--include",
        dest="includes",
        metavar="PATTERN",
        action="append",
        default=[],
        help="take what matches although --exclude leaves it out (repeatable)",
    )
    add("--max-size", metavar="SIZE", type=size, help="leave out larger files")
    add(
        "--newer-than",
        metavar="MOMENT",
        type=moment,
        help="leave out files that were not changed since then: a time ago, as 2d, or a date, as 2030-06-30",
    )
    if name == "sync":
        add("--delete", action="store_true", help="delete below DEST what SRC does not have, after all else has worked")
    add("--parents", action="store_true", help="also make missing directories above DEST")
    add("--mode", metavar="MODE", type=file_mode, help="give files this mode, in octal, instead of their own")
    add("--owner", metavar="USER[:GROUP]", default="", help="give what is written to this owner; only as root")
    add("--no-times", dest="times", action="store_false", help="do not keep the times of modification")
    add("-X", "--xattrs", action="store_true", help="also keep extended attributes and ACLs")
    add(
        "--in-place",
        action="store_true",
        help="write into existing files and devices, which are then neither whole nor safe meanwhile",
    )
    add(
        "--no-fsync",
        dest="sync",
        action="store_false",
        help="do not wait until files are on disk; a power cut may lose them",
    )
    add("--limit-rate", dest="rate", metavar="SIZE", type=transfer_rate, help="send at most SIZE each second")
    add("--sha256", action="store_true", help="print SHA-256 digests as sha256sum does")
    add("-v", "--verbose", action="store_true", help="print each file that is in place, with its BLAKE3 digest")
    add("-q", "--quiet", action="store_true", help="show neither progress nor a summary")
    always = _ALWAYS + _ALWAYS_IN_SYNC if name == "sync" else _ALWAYS
    add(*always, dest="always", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)


def parse_transfer(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options in `arguments`, which may be anywhere before a `--`. Exits with 2 if one is wrong."""
    arguments = list(arguments)
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_intermixed_args(arguments[:end])
    options.words += arguments[end + 1 :]
    if options.quiet and options.verbose:
        parser.error("-q prints less and -v more; they cannot be combined")
    if getattr(options, "json", False) and (options.quiet or options.verbose):
        parser.error("--json prints events instead of text; it cannot be combined with -q or -v")
    return options


def refuse_empty(parser: argparse.ArgumentParser, name: str, path: str, where: str) -> None:
    """Exit with 2 if a path is empty, as an unset variable of the shell is; `where` is what a dot would be."""
    if not path:
        parser.error(f"{name} is empty; for {where}, write .")


def transfer_keywords(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options as the keywords of `Client.put`, `get` and `sync`."""
    keywords = {name: getattr(options, name) for name in _NAMES}
    keywords["excludes"] = [
        *options.excludes,
        *("!" + _as_name(pattern) for pattern in options.includes),
    ]
    if hasattr(options, "delete"):
        keywords["delete"] = options.delete
    return keywords


def _as_exclude(pattern: str) -> str:
    # A line that begins with # is a comment in a file, and never meant as one here.
    return f"\\{pattern}" if pattern.startswith("#") else pattern


def _lines_of(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except ValueError:
        raise argparse.ArgumentTypeError(f"{path}: this is no UTF-8 text") from None


def _as_name(pattern: str) -> str:
    return f"\\{pattern}" if pattern.startswith(("#", "!")) else pattern
