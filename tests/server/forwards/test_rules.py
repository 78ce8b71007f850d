"""Patterns allow what they say and nothing else; the options of a key narrow that further."""

from __future__ import annotations

import contextlib
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_forwards.targets import InetTarget
from farhand_server.forwards.rules import (
    MAX_FORWARD_PATTERN,
    ForwardJudge,
    ForwardRules,
    Permission,
    parse_forward_pattern,
    parse_permission,
)

HOME = b"/home/ada"


def connects(pattern: str, host: str, port: int, address: str | None = None) -> bool:
    judge = ForwardJudge(ForwardRules(connect=(pattern,)))
    return judge.denied_connection(InetTarget(host, port), address or host) is None


def listens(pattern: str, host: str, port: int, address: str | None = None) -> bool:
    judge = ForwardJudge(ForwardRules(listen=(pattern,)))
    return judge.denied_listener(InetTarget(host, port), address) is None


@pytest.mark.parametrize(
    ("pattern", "host", "port", "address"),
    [
        ("db:5432", "db", 5432, "10.0.0.5"),
        ("DB.Example.net:5432", "db.example.NET.", 5432, "10.0.0.5"),
        ("*.example.net:1-65535", "a.b.example.net", 65535, "10.0.0.5"),
        ("web?:*", "web7", 1, "10.0.0.5"),
        ("*:*", "anything", 80, "::1"),
        ("*:8000-8999", "127.0.0.1", 8999, None),
        ("10.0.0.0/8:443", "name", 443, "10.255.0.1"),
        ("10.0.0.1:443", "10.0.0.1", 443, None),
        ("10.0.0.0/8:443", "name", 443, "::ffff:10.0.0.1"),
        ("[fd00::/8]:443", "name", 443, "fd12::1"),
        ("[::1]:*", "localhost", 5, "::1"),
    ],
)
def test_a_connection_that_a_pattern_describes_is_allowed(
    pattern: str, host: str, port: int, address: str | None
) -> None:
    assert connects(pattern, host, port, address)


@pytest.mark.parametrize(
    ("pattern", "host", "port", "address"),
    [
        ("db:5432", "db", 5433, "10.0.0.5"),
        ("db:5432", "db2", 5432, "10.0.0.5"),
        ("db:5432", "10.0.0.5", 5432, None),  # a name is not what it happens to lead to
        ("*.example.net:80", "example.net", 80, "10.0.0.5"),
        ("*.example.net:80", "a.example.net.evil.org", 80, "10.0.0.5"),
        ("f*:80", "fd00::5", 80, None),  # nor is a pattern of names one of addresses
        ("10.0.0.0/8:443", "10.0.0.1.evil.org", 443, "11.0.0.1"),
        ("10.0.0.0/8:443", "name", 443, "fd00::1"),
        ("10.0.0.0/8:443", "name", 443, "no address"),
        ("unix:*", "db", 1, "10.0.0.5"),
        ("*:8000-8999", "127.0.0.1", 7999, None),
    ],
)
def test_any_other_connection_is_denied(pattern: str, host: str, port: int, address: str | None) -> None:
    assert not connects(pattern, host, port, address)


SPELLINGS = [
    *("169.254.169.254", "2852039166", "0xa9fea9fe", "0xA9.0xFE.0xA9.0xFE", "0251.0376.0251.0376", "169.254.43518"),
    *("169.16689662", "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "0:0:0:0:0:ffff:a9fe:a9fe", "169.254.0169.254"),
]


@pytest.mark.parametrize("host", SPELLINGS)
def test_no_spelling_of_the_metadata_address_passes_a_pattern_that_does_not_name_it(host: str) -> None:
    try:
        found = socket.getaddrinfo(host, 80, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return  # the resolver does not accept it either
    for *_, address in found:
        for pattern in ("*:*", "*:80", "0.0.0.0/0:*", "[::/0]:*", "a*:*", "169.0.0.0/8:80"):
            assert not connects(pattern, host, 80, str(address[0])), pattern


@pytest.mark.parametrize("pattern", ["169.254.169.254:80", "169.254.0.0/16:*", "169.254.169.0/24:80-81"])
def test_a_rule_may_name_it(pattern: str) -> None:
    assert connects(pattern, "metadata", 80, "169.254.169.254")
    assert connects(pattern, "metadata", 80, "::ffff:169.254.169.254")
    assert not connects(pattern, "metadata", 82 if ":80" in pattern else 80, "100.100.100.200")


def test_a_name_that_leads_there_is_no_way_around() -> None:
    assert not connects("metadata.example:80", "metadata.example", 80, "169.254.169.254")
    assert not connects("*:*", "any", 80, "0.0.0.0")  # leads to this machine
    assert not connects("*:*", "any", 80, "fe80::1%eth0")
    assert connects("[fe80::/10]:80", "any", 80, "fe80::1%eth0")


@pytest.mark.parametrize(
    ("pattern", "host", "port", "address", "allowed"),
    [
        ("localhost:*", "", 8080, None, True),
        ("localhost:*", "", 0, None, True),
        ("localhost:8080", "", 0, None, False),
        ("localhost:8000-8999", "", 8080, None, True),
        ("localhost:8000-8999", "", 9000, None, False),
        ("localhost:*", "127.0.0.1", 80, "127.0.0.1", True),
        ("localhost:*", "::1", 80, "::1", True),
        ("localhost:*", "*", 8080, None, False),
        ("localhost:*", "10.0.0.1", 8080, "10.0.0.1", False),
        ("localhost:*", "localhost", 8080, "10.0.0.1", False),
        ("*:8080", "*", 8080, None, True),
        ("*:8080", "", 8080, None, True),
        ("10.0.0.1:*", "10.0.0.1", 80, "10.0.0.1", True),
        ("10.0.0.1:*", "*", 80, None, False),
        ("127.0.0.0/8:*", "127.0.0.2", 80, "127.0.0.2", True),
        ("127.0.0.0/8:*", "", 80, None, False),
        ("host:80", "host", 80, "10.0.0.1", True),
    ],
)
def test_a_listener_is_where_a_pattern_lets_it_be(
    pattern: str, host: str, port: int, address: str | None, allowed: bool
) -> None:
    assert listens(pattern, host, port, address) is allowed


@pytest.mark.parametrize(
    ("pattern", "path", "allowed"),
    [
        ("unix:*", b"/any/where", True),
        ("unix:/run/app/*", b"/run/app/x", True),
        ("unix:/run/app/*", b"/run/app/y/z", True),
        ("unix:/run/app/*", b"/run/app", False),
        ("unix:/run/app/*", b"/run/apple/x", False),
        ("unix:/run/*/x", b"/run/app/x", True),
        ("unix:/run/*/x", b"/run/a/b/x", False),
        ("unix:/run/app-[0-9].sock", b"/run/app-7.sock", True),
        ("unix:~/s", b"/home/ada/s", True),
        ("unix:~/s", b"/home/eve/s", False),
        ("unix:/caf\u00e9", "/caf\u00e9".encode(), True),
        ("unix:/run/*", b"/run/\xff", True),
        ("*:*", b"/run/x", False),
    ],
)
def test_a_unix_socket_is_judged_by_its_path(pattern: str, path: bytes, allowed: bool) -> None:
    judge = ForwardJudge(ForwardRules(connect=(pattern,), listen=(pattern,)))
    assert (judge.denied_path(path, HOME) is None) is allowed
    assert (judge.denied_listening_path(path, HOME) is None) is allowed
    assert judge.all_paths is (pattern == "unix:*")


def test_permitopen_leaves_only_what_it_names() -> None:
    judge = ForwardJudge(ForwardRules(permit_open=(Permission("db", 5432), Permission("::1", 0))))
    assert judge.denied_connection(InetTarget("DB", 5432), "10.0.0.5") is None
    assert judge.denied_connection(InetTarget("::1", 7), "::1") is None
    assert "permitopen" in (judge.denied_connection(InetTarget("10.0.0.5", 5432), "10.0.0.5") or "")
    assert "permitopen" in (judge.denied_connection(InetTarget("db", 5432, "udp"), "10.0.0.5") or "")
    assert "permitopen" in (judge.denied_path(b"/run/x", HOME) or "")
    assert not judge.all_paths
    assert judge.denied_listener(InetTarget("", 80), None) is None
    narrow = ForwardJudge(ForwardRules(("web:80",), permit_open=(Permission("db", 5432),)))
    assert "the policy does not allow" in (narrow.denied_connection(InetTarget("db", 5432), "10.0.0.5") or "")


def test_permitlisten_leaves_only_what_it_names() -> None:
    judge = ForwardJudge(ForwardRules(permit_listen=(Permission("localhost", 8080), Permission("::1", 0))))
    assert judge.denied_listener(InetTarget("", 8080), None) is None
    assert judge.denied_listener(InetTarget("::1", 0), "::1") is None
    assert "permitlisten" in (judge.denied_listener(InetTarget("", 8081), None) or "")
    assert "permitlisten" in (judge.denied_listener(InetTarget("127.0.0.1", 8080), "127.0.0.1") or "")
    assert "permitlisten" in (judge.denied_listening_path(b"/run/x", HOME) or "")
    assert judge.denied_listening_path(b"", HOME) is None  # what permits an agent is another option
    assert ForwardJudge(ForwardRules(permit_listen=(Permission("*", 0),))).denied_listener(InetTarget("*", 1), None)


def test_an_agent_is_forwarded_only_if_that_is_allowed() -> None:
    assert ForwardJudge(ForwardRules()).denied_listening_path(b"", HOME) is None
    judge = ForwardJudge(ForwardRules(agent=False))
    assert "agent" in (judge.denied_listening_path(b"", HOME) or "")


@pytest.mark.parametrize(
    ("text", "listener", "found"),
    [
        ("db:5432", False, Permission("db", 5432)),
        ("DB:*", False, Permission("db", 0)),
        ("[::1]:22000", False, Permission("::1", 22000)),
        ("8080", True, Permission("*", 8080)),
        ("*", True, Permission("*", 0)),
        ("localhost:8080", True, Permission("localhost", 8080)),
    ],
)
def test_an_option_of_a_key_is_read_as_by_sshd(text: str, listener: bool, found: Permission) -> None:
    assert parse_permission(text, listener=listener) == found


@pytest.mark.parametrize("text", ["", "db", "8080", ":80", "db:", "db:0", "db:65536", "db:http", "::1:80", "[]:80"])
def test_one_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        parse_permission(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("db", "neither HOST:PORTS nor unix:PATH"),
        ("::1:80", "neither HOST:PORTS"),
        ("db:http", "neither HOST:PORTS"),
        ("db:0", "no port"),
        ("db:9-8", "no port"),
        ("db:1-65536", "no port"),
        ("10.*:80", "wildcards are for names"),
        ("10.0.0.1/8:80", "not an address or a network"),
        ("127.1:80", "not an address"),
        ("[db]:80", "not an address"),
        ("b\u00fccher.de:80", "neither a name"),
        ("a b:80", "neither a name"),
        ("unix:", "absolute path"),
        ("unix:run/x", "absolute path"),
        ("unix:/run/../x", "must have no"),
        ("unix://run", "must have no"),
        ("x" * MAX_FORWARD_PATTERN + ":1", "at most"),
        ("a\n:1", "printable"),
    ],
)
def test_a_pattern_that_means_nothing_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_forward_pattern(text)


@given(st.text(alphabet="*?.:/-[]0123456789abunix~", max_size=20))
def test_whatever_a_pattern_is_reading_it_ends_with_a_pattern_or_a_reason(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_forward_pattern(text).text == text
