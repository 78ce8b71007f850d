"""`farhand put` and `farhand get`: files to another machine, and from it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from farhand_client.config import config_directory, is_there, load_hosts

from .default_host import default_host, required_default
from .host_paths import command_line, parse_host_path, parse_url
from .transfer import TypedTransfer, run_transfer
from .transfer_options import RULES, parse_transfer, refuse_empty, transfer_parser

_PUT: Final = """\
Send files to another machine.

  farhand put web site.tar /srv/www/
  farhand put web build/ /srv/www
  pg_dump shop | farhand put web - backup/shop.sql
"""

_GET: Final = """\
Fetch files from another machine.

  farhand get web /etc/hosts .
  farhand get web '/var/log/*.gz' logs/
  farhand get web backup/shop.sql - | psql shop
"""


def put_command(arguments: Sequence[str]) -> int:
    """Run `farhand put` and return the exit code."""
    return _command("put", arguments, _PUT, "SRC is a path here, - is stdin.\n\n" + RULES)


def get_command(arguments: Sequence[str]) -> int:
    """Run `farhand get` and return the exit code."""
    patterns = (
        "SRC is a path there, or a pattern in quotes, which that machine expands. DEST is a path here; - is stdout."
    )
    return _command("get", arguments, _GET, f"{patterns}\n\n{RULES}")


def _command(name: Literal["put", "get"], arguments: Sequence[str], description: str, epilog: str) -> int:
    parser = transfer_parser(name, "[HOST] SRC… DEST", description, epilog)
    options = parse_transfer(parser, arguments)
    host, *rest = _words(parser, name, options.words)
    there, here = "the home directory there", "this directory"
    for source in rest[:-1]:
        refuse_empty(parser, "SRC", source, here if name == "put" else there)
    refuse_empty(parser, "DEST", rest[-1], there if name == "put" else here)
    return run_transfer(parser, options, TypedTransfer(name, host, rest[:-1], rest[-1]))


def _words(parser: argparse.ArgumentParser, name: str, words: list[str]) -> list[str]:
    """Return HOST, SRC… and DEST. Exits with 2 if that is not what was typed."""
    if not words:
        required_default(parser, "HOST, SRC and DEST are missing")
        parser.error("SRC and DEST are missing")
    if meant := _as_for_scp(name, words):
        parser.error(f"HOST is a word of its own; did you mean {meant}?")
    if len(words) == 1:
        parser.error(f"SRC and DEST are missing; write {command_line(name, [*words, 'SRC', 'DEST'])}")
    if len(words) == 2 and not _is_known_host(words[0]) and default_host() is not None:
        return [required_default(parser), *words]
    if len(words) == 2:
        where = "in the home directory there" if name == "put" else "in this directory"
        parser.error(f"DEST is missing; for {where}, write {command_line(name, [*words, '.'])}")
    return words


def _as_for_scp(name: str, words: list[str]) -> str:
    """Return what to type instead of words in the order of scp(1); empty if they are not."""
    url = [parse_url(word) or word for word in words]
    if url != words:
        return command_line("cp", url)
    first, *others = words
    place = parse_host_path(first)
    if place.host and not place.path:  # `put web: f`
        return command_line(name, [place.host, *others, *([] if len(others) > 1 else ["."])])
    if _is_known_host(first):
        return ""
    if name == "get":
        other = place.host and not first.startswith("unix:") and not _is_port(place.path)
        return command_line("cp", [*words, *([] if others else ["."])]) if other else ""
    if not others:
        return ""
    target = parse_host_path(others[-1])
    if target.host and (len(words) == 2 or Path(first).exists()):
        return command_line(name, [target.host, *words[:-1], target.path or "."])
    return ""


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _is_known_host(word: str) -> bool:
    config = config_directory() / "config.toml"
    return "@" in word or word.startswith("unix:") or (is_there(config) and word in load_hosts(config))
