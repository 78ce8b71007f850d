"""One word for one thing: no banned synonym in any name, and each class and constant defined once.

`protocol/README.md` ("Words") is the glossary. Names are those of modules, classes, functions, arguments, variables and
attributes, split into words: `stdin_taken` and `StdinTaken` both have the words `stdin` and `taken`.
"""

from __future__ import annotations

import ast
import gc
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent

BANNED = {
    "anew": "again",
    "carried": "copied, or done",
    "carry": "copy, or transfer",
    "cord": "connection",
    "cords": "connections",
    "door": "listener",
    "doors": "listeners",
    "farewell": "shutdown, or last ping",
    "farewells": "shutdowns",
    "freeze": "snapshot",
    "freezes": "snapshots",
    "frozen": "snapshot, or immutable",
    "hear": "receive",
    "heard": "received",
    "hearing": "receiving",
    "hears": "receives",
    "news": "changed",
    "passing": "handover",
    "patience": "timeout",
    "piece": "chunk",
    "pieces": "chunks",
    "surroundings": "context",
    "tells": "reports, or shows",
    "thaw": "restore",
    "thawed": "restored",
    "thaws": "restores",
    "ward": "tracked run",
    "wards": "tracked runs",
    "whoever": "a client, or a user, that …",
}
"""Words that no name has, and what to say instead."""

BANNED_OUTSIDE_TESTS = {"link": "connection", "links": "connections"}
"""The same, but for tests: there they are links of a file system."""

BANNED_IN_CLASSES = {
    "console": "terminal streams",
    "keyboard": "terminal input",
    "leave": "exit",
    "link": "connection",
    "way": "direction",
}
"""Words that no class name has: a variable may be a terminal's keyboard, a class of ours is not."""

BANNED_NAMES = {
    "EVERYTHING": "MAX_OFFSET",
    "hold_back": "block_signals",
    "let_in": "unblock_signals, or accept",
    "unknown_end": "lost_run_error",
}
"""Whole names that say too little, or something else."""

BANNED_IN_CONSTANTS = {
    "largest": "MAX_…",
    "longest": "MAX_…",
    "most": "MAX_…",
    "patience": "…_TIMEOUT",
    "piece": "…_CHUNK",
}
"""Words that a public module constant does not begin or end with."""

CONNECTION_CALLED_LINE = re.compile(
    r"(^|_)line(_that)?(_is|_was|_has)?_(back|cut(?!_off)|dead|down|fallen|gone|lost|silent|up)(_|$)|(^|_)(dead|lost)_line(_|$)"
)
"""A line is a line of text. These are about a connection."""

ALLOWED = {
    "freeze_loaded_objects",  # calls gc.freeze
}

AREAS = ("protocol", "server", "client", "tests/protocol", "tests/server", "tests/client", "tests")


class Name(NamedTuple):
    """A name, and where it is defined."""

    name: str
    where: str


def area(path: Path) -> str:
    """Return the first of `AREAS` that `path` belongs to."""
    return next(area for area in AREAS if path.is_relative_to(area))


@cache
def sources() -> dict[Path, ast.Module]:
    found = [path for top in ("protocol", "server", "client", "tests") for path in (ROOT / top).rglob("*.py")]
    gc.disable()  # a million nodes make three quarters of the time garbage collection
    try:
        return {path.relative_to(ROOT): ast.parse(path.read_text()) for path in sorted(found)}
    finally:
        gc.enable()


def words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def names(path: Path, tree: ast.Module) -> Iterator[Name]:
    """Yield every name that the module defines, its own included."""
    yield Name(path.stem, str(path))
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                pass
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                pass
            case ast.alias(asname=str(name)):
                pass
            case _:
                continue
        yield Name(name, f"{path}:{node.lineno}")


def faults(name: str, banned: dict[str, str]) -> Iterator[str]:
    """Yield what is wrong with a name, and what to say instead."""
    if name in ALLOWED:
        return
    if name in BANNED_NAMES:
        yield f"say {BANNED_NAMES[name]!r} instead of {name!r}"
    if name[:1].isupper() and not name.isupper():
        banned = banned | BANNED_IN_CLASSES
    for word in banned.keys() & words(name):
        yield f"say {banned[word]!r} instead of {word!r}"
    if CONNECTION_CALLED_LINE.search("_".join(words(name))):
        yield "say 'connection' instead of 'line'"


def violations(where: str) -> Iterator[str]:
    """Yield the faults of all names in one area."""
    banned = BANNED if where.startswith("tests") else BANNED | BANNED_OUTSIDE_TESTS
    first_places: dict[str, str] = {}
    for path, tree in sources().items():
        if area(path) == where:
            for name, place in names(path, tree):
                first_places.setdefault(name, place)
    for name, place in first_places.items():
        for fault in faults(name, banned):
            yield f"{place}: {name}: {fault}"


def test_no_name_has_a_banned_synonym() -> None:
    found = sorted({violation for where in AREAS for violation in violations(where)})
    assert not found, "\n".join(found)


def products() -> Iterator[tuple[Path, ast.Module]]:
    for path, tree in sources().items():
        if path.parts[0] != "tests":
            yield path, tree


def test_a_class_name_stands_for_one_class() -> None:
    defined = defaultdict(list)
    for path, tree in products():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                defined[node.name].append(f"{path}:{node.lineno}")
    twice = {name: places for name, places in defined.items() if len(places) > 1}
    assert not twice, twice


def constants(tree: ast.Module) -> Iterator[str]:
    """Yield the public constants of a module; a type variable is none, nor is what type checkers define."""
    for node in tree.body:
        match node:
            case ast.Assign(value=ast.Call(func=ast.Name(id="TypeVar" | "ParamSpec"))):
                continue
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                if name.isupper() and not name.startswith("_") and name != "TYPE_CHECKING":
                    yield name


def test_a_constant_name_stands_for_one_value() -> None:
    defined = defaultdict(list)
    for path, tree in products():
        for name in constants(tree):
            defined[name].append(str(path))
    twice = {name: places for name, places in defined.items() if len(places) > 1}
    assert not twice, twice


def test_a_limit_is_called_max() -> None:
    for path, tree in products():
        for name in constants(tree):
            first, *_, last = [*words(name), ""]
            for word in BANNED_IN_CONSTANTS.keys() & {first, last or first}:
                raise AssertionError(f"{path}: {name}: say {BANNED_IN_CONSTANTS[word]}")


def test_the_check_finds_what_it_looks_for() -> None:
    tree = ast.parse("class UnixDoor:\n  def thaw(self, patience): self.line_lost = anew = 1\nimport x as cord")
    found = [name.name for name in names(Path("doors.py"), tree)]
    assert {word for name in found for word in words(name) if word in BANNED} == {
        "anew", "cord", "door", "doors", "patience", "thaw",
    }  # fmt: skip
    assert [name for name in found if CONNECTION_CALLED_LINE.search(name)] == ["line_lost"]
    assert [name for name in ("Keyboard", "keyboard", "let_in", "let") if list(faults(name, BANNED))] == [
        "Keyboard", "let_in",
    ]  # fmt: skip
    assert not any(CONNECTION_CALLED_LINE.search(name) for name in ("line_count", "cut_line", "lines_left", "on_line"))
