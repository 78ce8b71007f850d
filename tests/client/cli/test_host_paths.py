"""Which words of a command line are paths on another machine."""

from __future__ import annotations

import pytest

from farhand_client.cli.host_paths import HostPath, command_line, parse_host_path, parse_url, remote_bytes


@pytest.mark.parametrize(
    ("word", "host", "path"),
    [
        ("web:/srv", "web", "/srv"),
        ("web:", "web", ""),
        (":x", "", "x"),
        ("ann@web.example:docs/a:b", "ann@web.example", "docs/a:b"),
        ("web:7022:/srv", "web:7022", "/srv"),
        ("web:22", "web", "22"),
        ("ssh:web:/srv", "ssh:web", "/srv"),
        ("ssh:ann@web:2222:x:y", "ssh:ann@web:2222", "x:y"),
        ("ssh:[::1]:x", "ssh:[::1]", "x"),
        ("ssh:x", "ssh", "x"),
        ("ssh:7022:x", "ssh:7022", "x"),
        ("ssh:./a:b", "ssh", "./a:b"),
        ("web:123456:x", "web", "123456:x"),
        ("[2001:db8::1]:/srv", "[2001:db8::1]", "/srv"),
        ("ann@[::1]:7022:x", "ann@[::1]:7022", "x"),
        ("web:a\nb", "web", "a\nb"),
        ("unix:/run/f.sock:/srv", "unix:/run/f.sock", "/srv"),
    ],
)
def test_what_comes_before_a_colon_is_another_machine(word: str, host: str, path: str) -> None:
    assert parse_host_path(word) == HostPath(host, path)


@pytest.mark.parametrize("word", ["f", "./a:b", "/a:b", "dir/a:b", "", "-", "unix:/run/f.sock", "ann@web"])
def test_a_slash_before_the_colon_or_no_colon_means_this_machine(word: str) -> None:
    assert parse_host_path(word) == HostPath(None, word)


@pytest.mark.parametrize(
    ("word", "instead"),
    [
        ("scp://ann@web/srv/x", "ann@web:/srv/x"),
        ("ssh://web", "web:"),
        ("rsync://web:7022/x", "web:7022:/x"),
        ("web://x", None),
        ("./a://b", None),
    ],
)
def test_a_url_is_recognised(word: str, instead: str | None) -> None:
    assert parse_url(word) == (instead if word != "web://x" else "x:")


@pytest.mark.parametrize(
    ("path", "sent"),
    [("", b"."), ("~", b"."), ("~/", b"."), ("~/a", b"a"), ("~//a", b"a"), ("~ann/a", b"~ann/a"), ("\udcff", b"\xff")],
)
def test_the_home_directory_is_where_paths_begin(path: str, sent: bytes) -> None:
    assert remote_bytes(path) == sent


def test_a_line_to_type_is_quoted() -> None:
    assert command_line("put", ["web", "a b", "."]) == "farhand put web 'a b' ."
