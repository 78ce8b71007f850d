"""What a command's patterns match, and that each known way around them is closed."""

from __future__ import annotations

import os
import posixpath
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_server.policy.patterns import has_wildcard, matches_arguments, unmatched_name
from tests.server.policy.support import allows
from tests.support.cost import assert_linear

texts = st.text(st.sampled_from("a-./ *?\n"), max_size=6)
patterns = st.lists(texts.filter(lambda text: text != "..."), max_size=4)


@pytest.mark.parametrize(
    ("pattern", "argument", "matched"),
    [
        ("", "", True),
        ("", "a", False),
        ("restart", "restart", True),
        ("restart", "Restart", False),
        ("app-*", "app-1", True),
        ("app-*", "app-", True),
        ("app-*", "app-a b", True),
        ("app-*", "app-a\nb", True),
        ("app-?", "app-12", False),
        ("app-[0-9]", "app-7", True),
        ("[*]", "*", True),
        ("[*]", "a", False),
        # A name does not match an option.
        ("*", "name", True),
        ("*", "--upload-pack=sh", False),
        ("?x", "-x", False),
        ("[-]x", "-x", False),
        ("-*", "--force", True),
        ("--to=*", "--to=-x", True),
        # A pattern for files below a directory does not match those above it.
        ("/srv/*", "/srv/a/b", True),
        ("/srv/*", "/srv/..", False),
        ("/srv/*", "/srv/../etc/shadow", False),
        ("/srv/*", "/srv/a/../../etc/shadow", False),
        ("/srv/*", "/srv/..a", True),
        ("--to=/*", "--to=/../x", False),
        ("*/x", "a=../x", False),
        ("/srv/../x", "/srv/../x", True),
        # `*` alone is any argument.
        ("*", "../x", True),
        ("*", "/etc/passwd", True),
        ("**", "a/../b", True),
        # A wildcard stays within a name.
        ("app-*.service", "app-/../../etc/x.service", False),
        ("app-*.service", "app-a/x.service", False),
        ("report-*", "report-1/../../../etc/passwd", False),
        ("report-*", "report-1/", False),
        ("report-?", "report-/", False),
        ("report[!a]x", "report/x", False),
        ("report[+-9]x", "report/x", False),
        ("report[/]x", "report/x", False),
        ("-*", "-o/etc/x", False),
        ("--to=*", "--to=/etc/x", False),
        ("--to=*", "--to=..", False),
        (".*", "..", False),
        ("?.", "..", False),
        (".*", ".x", True),
        # A wildcard in a path stays within its component, unless it is the whole last one.
        ("/srv/*/x", "/srv/a/x", True),
        ("/srv/*/x", "/srv/a/b/x", False),
        ("/srv/*/*", "/srv/a/b/c", True),
        ("/srv/*/*", "/srv/a", False),
        ("/srv/*.conf", "/srv/a/b.conf", False),
        ("/srv/app-*", "/srv/app-1/../../etc", False),
        ("/srv/app-*", "/srv/app-1/x", False),
        ("/srv/**", "/srv/a/b", True),
        ("/srv/*", "/srv/", True),
        ("/srv/*", "/srv", False),
        ("/srv/*", "/srvx/y", False),
        ("--to=/srv/*", "--to=/srv/a/b", True),
        ("--to=/srv/*", "--to=/srv/a/..", False),
        ("*/*", "a/b/c", True),
        ("*/*", "-a/b", False),
    ],
)
def test_an_argument_is_matched_as_a_whole(pattern: str, argument: str, matched: bool) -> None:
    assert matches_arguments([pattern], [argument.encode()]) is matched


@pytest.mark.parametrize(
    ("wanted", "arguments", "matched"),
    [
        ([], [], True),
        ([], [b"a"], False),
        (["a"], [], False),
        (["a", "..."], [b"a"], True),
        (["a", "..."], [b"a", b"-x", b"../y"], True),
        (["a", "..."], [], False),
        (["..."], [], True),
        (["a", "*"], [b"a"], False),
        (["a*b"], [b"a", b"b"], False),
        (["a b"], [b"a", b"b"], False),
        (["a", "b"], [b"a b"], False),
        (["\udcff*"], [b"\xff\xfe"], True),
    ],
)
def test_arguments_are_matched_one_by_one(wanted: list[str], arguments: list[bytes], matched: bool) -> None:
    assert matches_arguments(wanted, arguments) is matched


@given(patterns, st.lists(texts, max_size=4))
def test_commands_match_if_and_only_if_each_element_does(wanted: list[str], arguments: list[str]) -> None:
    matched = matches_arguments(wanted, [argument.encode() for argument in arguments])
    each = [matches_arguments([one], [other.encode()]) for one, other in zip(wanted, arguments, strict=False)]
    assert matched == (len(wanted) == len(arguments) and all(each))


@given(patterns, st.lists(texts, max_size=6))
def test_three_dots_match_the_arguments_after_the_last_pattern(wanted: list[str], arguments: list[str]) -> None:
    encoded = [argument.encode() for argument in arguments]
    expected = len(encoded) >= len(wanted) and matches_arguments(wanted, encoded[: len(wanted)])
    assert matches_arguments([*wanted, "..."], encoded) == expected


@given(texts, texts)
def test_a_pattern_never_matches_more_than_fnmatch_does(pattern: str, argument: str) -> None:
    if matches_arguments([pattern, ""], [argument.encode(), b""]):
        assert fnmatchcase(argument, pattern)
    if not has_wildcard(pattern):
        assert matches_arguments([pattern, ""], [argument.encode(), b""]) == (pattern == argument)


@given(st.text(st.sampled_from("a*?[!]"), min_size=1).filter(lambda text: text.strip("*")), texts)
def test_a_pattern_without_a_slash_matches_no_argument_with_one(pattern: str, argument: str) -> None:
    if matches_arguments([pattern, ""], [argument.encode(), b""]):
        assert "/" not in argument


@given(texts)
def test_a_pattern_below_a_directory_never_leaves_it(argument: str) -> None:
    path = "/srv/" + argument
    if matches_arguments(["/srv/*"], [path.encode()]):
        assert posixpath.normpath(path).startswith("/srv")


@pytest.mark.parametrize(
    ("pattern", "program", "matched"),
    [
        ("/usr/bin/git", "git", True),
        ("/usr/bin/git", "/usr/bin/git", True),
        ("/usr/bin/git", "/usr/bin/../bin/./git", True),
        ("/usr/bin/git", "../../usr/bin/git", True),
        ("/usr/bin/git", "ls", False),
        ("/usr/bin/git", "gone", False),
        ("/usr/bin/gone", "/usr/bin/gone", False),
        ("/usr/bin/g", "git", False),
        ("/bin/git", "git", False),
        # A symbolic link to a directory is resolved, in the pattern as in the request.
        ("/sbin/git", "git", True),
        ("/sbin/g*", "git", True),
        ("/usr/bin/git", "/home/ada/bin/git", True),
        ("/home/*/bin/git", "/home/ada/bin/git", False),
        # A wildcard stays within one directory.
        ("/usr/bin/*", "/usr/bin/git", True),
        ("/usr/*", "/usr/bin/git", False),
        ("/opt/*/bin/tool", "/opt/a/bin/tool", True),
        ("/opt/*/bin/tool", "/opt/a/b/bin/tool", False),
        ("/opt/*/*/bin/tool", "/opt/a/b/bin/tool", True),
        ("/*", "/usr/bin/git", False),
        ("*", "/usr/bin/git", True),
        ("*", "gone", True),
    ],
)
def test_a_program_is_matched_by_the_path_where_it_is_found(pattern: str, program: str, matched: bool) -> None:
    assert allows([[pattern]], program) is matched


def test_a_name_that_is_not_utf_8_is_matched_only_by_a_wildcard() -> None:
    assert allows([["/usr/bin/ls", "caf*"]], "ls", b"caf\xe9")
    assert not allows([["/usr/bin/ls", "café"]], "ls", b"caf\xe9")


def test_a_pattern_of_many_stars_is_matched_in_linear_time() -> None:
    assert not allows([["/usr/bin/ls", "*a" * 40 + "b"]], "ls", "a" * 100_000)


NAMES = st.lists(st.binary(min_size=1, max_size=6).filter(lambda name: b"\0" not in name), max_size=6)


@given(st.lists(st.sampled_from(["LC_*", "*", "A?C", "[ab]*", "x", "*a*a*", "é*"]), max_size=4), NAMES)
def test_the_first_name_that_no_pattern_matches_is_found(patterns: list[str], names: list[bytes]) -> None:
    matched = [any(fnmatchcase(os.fsdecode(name), pattern) for pattern in patterns) for name in names]
    wanted = names[matched.index(False)] if False in matched else None
    assert unmatched_name(patterns, names) == wanted


def test_ten_times_the_names_or_the_arguments_cost_ten_times_as_much() -> None:
    patterns = ("LC_*", "*_A*_B*", "X[0-9]*", "*")
    assert_linear(lambda names: unmatched_name(patterns, names), lambda n: [b"NAME%d" % i for i in range(n)], 3000)
    assert_linear(
        lambda argv: matches_arguments(["*"] * len(argv), argv), lambda n: [b"x%d" % i for i in range(n)], 3000
    )
    # One long argument, and patterns that could be tried in many ways.
    assert_linear(lambda name: unmatched_name(["*a*a*a*a*b"], [name]), lambda n: b"a" * n, 3000)
    assert_linear(lambda text: matches_arguments(["*a*a*a*b"], [text]), lambda n: b"a" * n, 3000)
