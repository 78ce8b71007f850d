"""`farhand sync` and `farhand cp`: `HOST:PATH` says which side is the other machine's, as for rsync(1) and scp(1)."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .default_host import required_default
from .host_paths import HostPath, parse_host_path, parse_url
from .transfer import TypedTransfer, run_transfer
from .transfer_options import RULES, parse_transfer, refuse_empty, transfer_parser

_SYNC: Final = """\
Make a directory like another one, on another machine or from there; only what differs is sent.

  farhand sync site/ web:/srv/www
  farhand sync --delete --exclude .git site/ web:/srv/www
  farhand sync web:/var/backups/ backups
"""

_CP: Final = """\
Send files to another machine, or fetch them: put and get with the words of scp.

  farhand cp site.tar web:/srv/www/
  farhand cp web:/etc/hosts .
"""

_PLACES: Final = """\
HOST:PATH is a path on another machine, relative to the home directory there. HOST is [user@]name[:port], unix:PATH, or
a name from config.toml; IPv6 addresses are in brackets. A path here that has a colon before its first slash is written
with ./ before it.

"""


def sync_command(arguments: Sequence[str]) -> int:
    """Run `farhand sync` and return the exit code."""
    parser = transfer_parser("sync", "SRC DEST", _SYNC, _PLACES + RULES)
    options = parse_transfer(parser, arguments)
    if len(options.words) != 2:
        parser.error(f"sync takes SRC and DEST, one of them as HOST:PATH, not {len(options.words)} words")
    if "-" in options.words:
        parser.error("- is stdin or stdout, which are no directories; use farhand put or farhand get")
    return run_transfer(parser, options, _request(parser, options.words, sync=True))


def cp_command(arguments: Sequence[str]) -> int:
    """Run `farhand cp` and return the exit code."""
    parser = transfer_parser("cp", "SRC… DEST", _CP, _PLACES + RULES)
    options = parse_transfer(parser, arguments)
    if len(options.words) < 2:
        parser.error("SRC or DEST is missing; write HOST:PATH for one of them, and . for this directory")
    return run_transfer(parser, options, _request(parser, options.words, sync=False))


def _request(parser: argparse.ArgumentParser, words: Sequence[str], *, sync: bool) -> TypedTransfer:
    for at, word in enumerate(words, 1):
        refuse_empty(parser, "SRC" if at < len(words) else "DEST", word, "this directory")
        if (instead := parse_url(word)) is not None:
            parser.error(f"{word!r} is a URL; write {instead}")
    *sources, destination = map(parse_host_path, words)
    hosts = {source.host for source in sources}
    if destination.host is None:
        if None in hosts:
            _refuse_local(parser, sources)
        if len(hosts) > 1:
            parser.error("SRC are on several machines; fetch from one after the other")
        host = _host(parser, hosts.pop())
        return TypedTransfer("get", host, [source.path for source in sources], destination.path, sync)
    for word, source in zip(words, sources, strict=False):
        if source.host is not None:
            if Path(word).exists():
                parser.error(
                    f"{word!r} is a path on another machine, as it is written; for the file here, write ./{word}"
                )
            parser.error("SRC and DEST are both on other machines; get it from one and put it on the other one")
    host = _host(parser, destination.host)
    return TypedTransfer("put", host, [source.path for source in sources], destination.path, sync)


def _refuse_local(parser: argparse.ArgumentParser, sources: Sequence[HostPath]) -> None:
    if all(source.host is None for source in sources):
        parser.error(
            "SRC and DEST are both on this machine; write the other machine's as HOST:PATH; "
            "for a copy on this machine, use plain cp"
        )
    parser.error("SRC are both here and on another machine; DEST is here, so write HOST:PATH for each SRC")


def _host(parser: argparse.ArgumentParser, host: str | None) -> str:
    return host or required_default(parser, "HOST before the colon is missing")
