"""Planning against a model of two file systems: what the decisions promise together, whatever the trees are.

A tree is a dictionary of paths. A directory is there if it is in it, and so is every directory above a path.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import assume, given
from hypothesis import strategies as st

from farhand_files import wire
from farhand_files.names import is_temporary
from farhand_files.options import TransferOptions
from farhand_files.planning import Action, Existing, decide, may_delete, mode_of, surplus
from farhand_files.selection import Selection

KEPT = b".farhand-0123456789abcdef-00ff00ff.part"


class Node(NamedTuple):
    """What is at a path. `content` is that of a file, or where a symbolic link points to."""

    kind: int
    content: bytes = b""
    mtime: int = 0
    mode: int = 0o644


Tree = dict[bytes, Node]
NAMES = st.sampled_from([b"a", b"b", b"c", b"a.o", b"\xff\n"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(b"/".join)
NODES = st.one_of(
    st.builds(
        Node,
        st.just(wire.REGULAR),
        st.sampled_from([b"", b"1", b"2", b"22"]),
        st.integers(1, 3),
        st.sampled_from([0o644, 0o4755]),
    ),
    st.builds(Node, st.just(wire.SYMLINK), st.sampled_from([b"a", b"/"])),
    st.just(Node(wire.DIRECTORY, mode=0o755)),
)


@st.composite
def trees(draw: st.DrawFn, extra: tuple[bytes, ...] = ()) -> Tree:
    tree: Tree = {}
    for path, node in draw(st.dictionaries(PATHS | st.sampled_from([b"a", *extra]), NODES, max_size=8)).items():
        above = [path[:at] for at in range(len(path)) if path[at : at + 1] == b"/"]
        if all(tree.get(each, Node(wire.DIRECTORY)).kind == wire.DIRECTORY for each in above):
            tree |= {each: Node(wire.DIRECTORY, mode=0o755) for each in above if each not in tree}
            if path not in tree:
                tree[path] = node
    return tree


def made_options(values: dict[str, Any]) -> TransferOptions:
    return TransferOptions("put", (b"x",), **values)


OPTIONS = st.fixed_dictionaries(
    {
        "excludes": st.lists(st.sampled_from(["*.o", "/b", "b/", "!a/b", "a/**", "c", "\udcff*"]), max_size=3).map(
            tuple
        ),
        "max_size": st.sampled_from([None, None, 1]),
        "newer_than": st.sampled_from([None, None, 1]),
        "mode": st.sampled_from([None, 0o600]),
        "delete": st.booleans(),
    }
).map(made_options)


def children(tree: Tree, directory: bytes) -> list[tuple[bytes, bool]]:
    start = directory + b"/" if directory else b""
    return [
        (path[len(start) :], node.kind == wire.DIRECTORY)
        for path, node in sorted(tree.items())
        if path.startswith(start) and b"/" not in path[len(start) :]
    ]


class Transfer:
    """Transfers the content of `source` to the root of `target`, which is changed; `unreadable` paths fail."""

    def __init__(self, source: Tree, target: Tree, options: TransferOptions, unreadable: frozenset[bytes]) -> None:
        self.options = options
        self.selection = Selection(options)
        self.source, self.target, self.unreadable = source, target, unreadable
        self.failed: set[bytes] = set()
        self.deleted: set[bytes] = set()
        self.changed: set[bytes] = set()
        self.moved: set[bytes] = set()
        self.entries: dict[bytes, Node] = {}
        self.listed: dict[bytes, set[bytes]] = {}
        self.walked_all = True
        self._walk(b"")
        for path, node in self.entries.items():
            self._receive(path, node)
        if may_delete(options, self.walked_all, len(self.failed)):
            for directory, names in self.listed.items():
                self._delete(directory, names)
            self.deleted |= self.moved

    def _walk(self, directory: bytes) -> None:
        names = set()
        for name, is_directory in children(self.source, directory):
            path = directory + b"/" + name if directory else name
            node = self.source[path]
            size = len(node.content) if node.kind == wire.REGULAR else -1
            mtime = node.mtime if node.kind == wire.REGULAR else 1 << 60
            if not self.selection.takes(path, is_directory, size, mtime):
                continue
            if path in self.unreadable:
                self.walked_all = False
                continue
            names.add(name)
            self.entries[path] = node
            if is_directory:
                self._walk(path)
        self.listed[directory] = names

    def _receive(self, path: bytes, node: Node) -> None:
        if any(path.startswith(failed + b"/") for failed in self.failed):
            self.failed.add(path)
            return
        target = node.content if node.kind == wire.SYMLINK else b""
        entry = wire.Entry(0, node.kind, node.mode, 0, 0, node.mtime, len(node.content), path, target)
        there = self.target.get(path)
        existing = there and Existing(
            there.kind,
            len(there.content),
            there.mtime,
            there.mode,
            there.content if there.kind == wire.SYMLINK else b"",
        )
        decision = decide(entry, existing, self.options)
        made = node._replace(mode=mode_of(entry, self.options))
        match decision.action:
            case Action.REFUSE:
                self.failed.add(path)
            case Action.LEAVE:
                pass
            case Action.SKIP:
                if decision.attributes:
                    assert there is not None
                    self._change(path, there._replace(mode=made.mode, mtime=made.mtime))
            case _:
                if there is not None and there.kind == wire.DIRECTORY and node.kind != wire.DIRECTORY:
                    self._replace(path)
                if path not in self.failed:
                    self._change(path, made)

    def _replace(self, path: bytes) -> None:
        """What was in a directory is elsewhere until it is deleted; if something is excluded, nothing is changed."""
        inside = [path, *(each for each in self.target if each.startswith(path + b"/"))]
        for each in inside:
            name, is_directory = each.rpartition(b"/")[2], self.target[each].kind == wire.DIRECTORY
            if is_temporary(name) or self.selection.excludes(each, is_directory):
                self.failed.add(path)
                return
        self.moved.update(inside)
        if not self.options.dry_run:
            for each in inside[1:]:
                del self.target[each]

    def _change(self, path: bytes, node: Node) -> None:
        self.changed.add(path)
        if not self.options.dry_run:
            self.target[path] = node

    def _delete(self, directory: bytes, names: set[bytes]) -> bool:
        """Delete what is not listed; return whether the directory is empty then."""
        there = children(self.target, directory)
        gone = 0
        for name, is_directory in list(surplus(directory, there, names, self.selection.excludes)):
            path = directory + b"/" + name if directory else name
            if not is_directory or self._delete(path, set()):
                gone += 1
                self.deleted.add(path)
                if not self.options.dry_run:
                    del self.target[path]
        return gone == len(there)


def excluded(path: bytes, tree: Tree, selection: Selection) -> bool:
    """Return whether a path, or a directory above it, is excluded."""
    above = [path[:at] for at in range(len(path)) if path[at : at + 1] == b"/"]
    is_directory = tree[path].kind == wire.DIRECTORY
    return any(selection.excludes(each, True) for each in above) or selection.excludes(path, is_directory)


def in_model(node: Node, options: TransferOptions) -> Node:
    """Return what a node is at the receiver."""
    entry = wire.Entry(0, node.kind, node.mode, 0, 0, node.mtime, 0, b"x")
    return node._replace(mode=mode_of(entry, options), mtime=node.mtime if node.kind == wire.REGULAR else 0)


def compared(node: Node) -> tuple[object, ...]:
    """Return what has to be equal: a symbolic link has no mode."""
    return node[:2] if node.kind == wire.SYMLINK else node


@given(trees(), trees((KEPT,)), OPTIONS)
def test_the_destination_has_all_that_is_selected_as_it_is_in_the_source(
    source: Tree, target: Tree, options: TransferOptions
) -> None:
    done = Transfer(source, target, options, frozenset())
    for path, node in done.entries.items():
        in_range = node.kind != wire.REGULAR or options.in_range(len(node.content), node.mtime)
        if in_range and path not in done.failed:
            expected, found = in_model(node, options), target[path]
            if node.kind == wire.REGULAR and found.content != node.content:  # up to date by size and time
                assert (len(found.content), found.mtime) == (len(node.content), node.mtime)
                found = found._replace(content=node.content)
            assert compared(found) == compared(expected)


@given(trees(), trees((KEPT,)), OPTIONS)
def test_delete_leaves_the_selected_source_and_what_is_excluded_or_temporary(
    source: Tree, target: Tree, options: TransferOptions
) -> None:
    before = dict(target)
    done = Transfer(source, target, options._replace(delete=True), frozenset())
    assert not any(excluded(path, before, done.selection) for path in done.deleted)
    assert KEPT not in done.deleted
    if not done.failed:
        surviving = {path for path in target if not path.startswith(KEPT)}
        kept = {path for path in surviving if path in before and excluded(path, before, done.selection)}
        above = {path[:at] for path in kept for at in range(len(path)) if path[at : at + 1] == b"/"}
        assert surviving <= done.entries.keys() | kept | above
    else:
        assert done.deleted == set()


@given(trees(), trees(), OPTIONS, st.data())
def test_nothing_is_deleted_if_anything_was_unreadable(
    source: Tree, target: Tree, options: TransferOptions, data: st.DataObject
) -> None:
    assume(source)
    unreadable = data.draw(st.sampled_from(sorted(source)))
    before = dict(target)
    done = Transfer(source, target, options._replace(delete=True), frozenset({unreadable}))
    if not done.walked_all:
        assert done.deleted == set()
        assert before.keys() <= target.keys() | done.moved


@given(trees(), trees((KEPT,)), OPTIONS)
def test_a_second_time_nothing_is_left_to_do(source: Tree, target: Tree, options: TransferOptions) -> None:
    first = Transfer(source, target, options, frozenset())
    before = dict(target)
    second = Transfer(source, target, options, frozenset())
    assert (second.changed, second.deleted, second.failed) == (set(), set(), first.failed)
    assert target == before


@given(trees(), trees((KEPT,)), OPTIONS)
def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    source: Tree, target: Tree, options: TransferOptions
) -> None:
    before = dict(target)
    would = Transfer(source, target, options._replace(dry_run=True), frozenset())
    assert target == before
    done = Transfer(source, target, options._replace(dry_run=False), frozenset())
    assert (would.changed, would.deleted, would.failed) == (done.changed, done.deleted, done.failed)
